import { groupsOf } from "../format/number";

/** A number or prefix in its groups; what is copied is plain E.164. */
export function E164({ children }: { children: string }) {
  return (
    <span className="number">
      {groupsOf(children).map((group, index) => (
        <span key={index}>{group}</span>
      ))}
    </span>
  );
}
