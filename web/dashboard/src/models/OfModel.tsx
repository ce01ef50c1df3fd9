import { Fragment, type ReactNode } from "react";

import { Page } from "../ui/Page";
import { Waiting } from "../ui/Shown";
import { type ModelChoice, useModel } from "./useModel";

type Known = ModelChoice & { model: string };

type Props = {
  title: string;
  about: string;
  children: (choice: Known) => ReactNode;
};

/** A page about one registered model, begun anew where another one is chosen. */
export function OfModel({ title, about, children }: Props) {
  const { model, ...rest } = useModel();
  if (model === null) {
    return (
      <Page title={title} about={about}>
        <Waiting what="the models" lines={6} />
      </Page>
    );
  }
  return <Fragment key={model}>{children({ model, ...rest })}</Fragment>;
}
