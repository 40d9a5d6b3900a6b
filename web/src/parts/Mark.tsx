/** The sign of the exchange: two lines that cross and both go on. */
export function Mark({ size }: { size: number }) {
  return <img src="/mark.svg" width={size} height={size} alt="" />;
}
