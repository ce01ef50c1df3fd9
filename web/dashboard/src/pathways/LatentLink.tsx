import { LinkButton } from "../ui/LinkButton";

type Props = { name: string; onChoose: (latent: string) => void };

/** A latent's name that opens its card. */
export function LatentLink({ name, onChoose }: Props) {
  return (
    <LinkButton
      className="font-mono text-xs whitespace-nowrap"
      onClick={(event) => {
        event.stopPropagation();
        onChoose(name);
      }}
    >
      {name}
    </LinkButton>
  );
}
