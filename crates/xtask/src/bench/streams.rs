//! Calls over TCP and TLS on both legs: the caller's one connection, and those that the system opens to the gateways.
//!
//! The systems have the same data as for datagrams; only the gateways' transport is another one. A message's time is
//! that of the read that ended it, so that the naps of the load are in the times, of every system alike.

use anyhow::Result;

use super::fabric::{GOAL_RATE, Run};
use super::kamailio::Variant;
use super::transport::Transport;

/// Those of Kamailio that stand beside the hub here.
const VARIANTS: [Variant; 2] = [Variant::Lean, Variant::Cdr];

impl Run<'_> {
    /// CPU per call and added latency at the rate of the goals, over each transport.
    pub(super) fn measure_streams(&mut self) -> Result<()> {
        for transport in Transport::STREAMS {
            self.reach_gateways_by(transport, &VARIANTS)?;
            let (before, mut completed) = (self.cdrs()?, 0);
            for repeat in 1..=self.repeats() {
                for system in self.systems()?.into_iter().filter(|system| !system.is_relay()) {
                    completed += self.measure_one(repeat, &system, GOAL_RATE)?;
                }
            }
            self.check_cdrs(before + completed)?;
        }
        Ok(())
    }
}
