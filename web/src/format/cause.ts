/** Why a leg of a call ended, in the numbers that switches show: of SIP and of ITU-T Q.850. Null while it is up. */
export function causeOf({ sip_cause, q850_cause }: { sip_cause: number | null; q850_cause: number | null }): string | null {
  const parts = [sip_cause !== null && `SIP ${sip_cause}`, q850_cause !== null && `Q.850 ${q850_cause}`];
  return parts.filter(Boolean).join(", ") || null;
}
