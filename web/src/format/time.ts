// Writes times and durations. Times are UTC everywhere: two members who speak about a call mean the same minute.

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

const two = (value: number) => String(value).padStart(2, "0");

/** `15:46:05` */
export function clock(time: string | Date): string {
  const at = new Date(time);
  return `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}:${two(at.getUTCSeconds())}`;
}

/** `22 Nov 2026` */
export function day(time: string | Date): string {
  const at = new Date(time);
  return `${at.getUTCDate()} ${MONTHS[at.getUTCMonth()] ?? ""} ${at.getUTCFullYear()}`;
}

/** `22 Nov 2026 15:46:05` */
export function moment(time: string | Date): string {
  return `${day(time)} ${clock(time)}`;
}

/** Seconds since, in words: `12 s ago`, `3 min ago`, `2 h ago`, else the day. */
export function since(time: string | Date, now: Date): string {
  const seconds = Math.round((now.getTime() - new Date(time).getTime()) / 1000);
  if (seconds < 2) return "now";
  if (seconds < 90) return `${seconds} s ago`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 36 * 3600) return `${Math.round(seconds / 3600)} h ago`;
  return day(time);
}

/** `0:07`, `3:05`, `1:02:03` */
export function length(ms: number): string {
  const seconds = Math.round(ms / 1000);
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor(seconds / 60) % 60;
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}

/** `84 ms`, `1.24 s` */
export function milliseconds(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(2)} s`;
}

/** `1,234` */
export function count(value: number): string {
  return Math.round(value).toLocaleString("en-GB");
}
