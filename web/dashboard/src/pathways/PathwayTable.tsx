import { useState } from "react";

import { studyPath } from "../api/http";
import { useResource } from "../api/useResource";
import type { Pathway, Pathways } from "../api/wire";
import { Card } from "../ui/Card";
import { Chip } from "../ui/Chip";
import { Empty } from "../ui/Empty";
import { Choice, SelectField } from "../ui/Field";
import { count, counted, percent, pValue, short } from "../ui/format";
import { Shown } from "../ui/Shown";
import { type Column, VirtualTable } from "../ui/VirtualTable";
import { LatentLink } from "./LatentLink";
import { verdictOf } from "./words";

type Props = { study: string; latent: string | null; onChoose: (latent: string) => void };

const orders = [
  { value: "attribution", name: "share of the attribution" },
  { value: "mediated", name: "mediated effect" },
  { value: "effect", name: "measured effect" },
  { value: "q", name: "adjusted p" },
] as const;

const MOST = 1000;

/** The study's pathways, those of one latent where one is chosen. */
export function PathwayTable({ study, latent, onChoose }: Props) {
  const [order, setOrder] = useState<(typeof orders)[number]["value"]>("attribution");
  const [shows, setShows] = useState<"all" | "true" | "false">("all");
  const [side, setSide] = useState<"all" | "target" | "source">("all");
  const isOneLatents = latent !== null && side !== "all";
  const pathways = useResource<Pathways>(
    studyPath(study, "/pathways", {
      order,
      verified: shows === "all" ? null : shows,
      limit: MOST,
      ...(isOneLatents ? { [side]: latent } : {}),
    }),
    { every: null },
  );
  return (
    <Card title="Pathways">
      <div className="mb-3 flex flex-wrap items-end gap-x-4 gap-y-2">
        <div className="w-56">
          <SelectField label="Ordered by" value={order} options={orders} onChange={setOrder} />
        </div>
        <Choice
          label="Replay"
          value={shows}
          options={[
            { value: "all", name: "all" },
            { value: "true", name: "confirmed" },
            { value: "false", name: "not" },
          ]}
          onChange={setShows}
        />
        <Choice
          label={latent ?? "Latent"}
          value={latent === null ? "all" : side}
          options={[
            { value: "all", name: "all" },
            { value: "target", name: "into it", disabled: latent === null },
            { value: "source", name: "out of it", disabled: latent === null },
          ]}
          onChange={setSide}
        />
      </div>
      <Shown resource={pathways} what="the pathways">
        {({ pathways: rows, n_rows: nRows }) =>
          rows.length === 0 ? (
            <Empty title="No pathway fits" />
          ) : (
            <>
              <VirtualTable
                name="Table of pathways"
                columns={columnsOf(onChoose)}
                rows={rows}
                idOf={({ source, target }) => `${source} ${target}`}
                height="max-h-[34rem]"
              />
              <p className="mt-1 text-xs text-muted tabular-nums">
                {rows.length < nRows
                  ? `The first ${count(rows.length)} of ${count(nRows)}.`
                  : `${counted(nRows, "pathway")}.`}{" "}
                Effects are changes of the target’s pre-activation when the source is ablated.
              </p>
            </>
          )
        }
      </Shown>
    </Card>
  );
}

function columnsOf(onChoose: (latent: string) => void): readonly Column<Pathway>[] {
  const figure = (value: string) => <span className="font-mono text-xs">{value}</span>;
  return [
    {
      key: "source",
      head: "Source",
      cell: ({ source }) => <LatentLink name={source} onChoose={onChoose} />,
    },
    {
      key: "target",
      head: "Target",
      cell: ({ target }) => <LatentLink name={target} onChoose={onChoose} />,
    },
    {
      key: "verdict",
      head: "Replay",
      cell: ({ verified }) => {
        const { name, tone } = verdictOf(verified);
        return <Chip tone={tone}>{name}</Chip>;
      },
    },
    {
      key: "share",
      head: "Share",
      isNumber: true,
      cell: ({ attribution_share }) => figure(percent(attribution_share)),
    },
    {
      key: "gradient",
      head: "Gradient",
      isNumber: true,
      isExtra: true,
      cell: ({ gradient_mean }) => figure(short(gradient_mean)),
    },
    {
      key: "mediated",
      head: "Mediated",
      isNumber: true,
      isExtra: true,
      cell: ({ mediated }) => figure(short(mediated)),
    },
    {
      key: "effect",
      head: "Effect",
      isNumber: true,
      cell: ({ effect }) => figure(short(effect)),
    },
    {
      key: "q",
      head: "Adjusted p",
      isNumber: true,
      cell: ({ q }) => figure(pValue(q)),
    },
  ];
}
