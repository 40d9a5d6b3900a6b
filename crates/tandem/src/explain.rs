//! `tandem explain`: why a call went where it went, and whether the same comes of the route table of that time again.

use anyhow::{Context, bail};
use tandem_model::CallId;
use tandem_routing::{Mismatch, RouteTable, Selection};
use tandem_store::{PgPool, call, past};

use crate::lookup::explain;
use crate::say;

/// Prints the selection of the call and what comes of making it again.
///
/// # Errors
/// When there is no such call, its selection cannot be made again, or something else comes of it.
pub async fn run(db: &PgPool, call: CallId) -> anyhow::Result<()> {
    let cdr = call::get(db, None, call).await.context("cannot read the call")?;
    let Some(cdr) = cdr else { bail!("there is no call {call}") };
    let Some(selection) = serde_json::from_str::<Option<Selection>>(&cdr.selection)? else {
        let reason = cdr.reason.unwrap_or_default();
        say(format_args!("The call was refused before a route was looked for ({reason})."));
        return Ok(());
    };
    if selection.asked.is_empty() {
        bail!("an earlier release made the selection, which does not say what it was made of");
    }
    for (index, asked) in selection.asked.iter().enumerate() {
        let version = asked.table_version;
        let facts = past::load(db, version).await.context("cannot load the route table as it was")?;
        let Some(facts) = facts else {
            bail!("the exchange does not know its past back to version {version} of the route table");
        };
        let table = RouteTable::from_facts(facts);
        let from =
            table.member(cdr.originating_member).map_or("a member unknown here", |it| it.name.as_str());
        if index == 0 {
            say(explain(&table, from, &selection).trim_end());
        }
        let (called, at, hash) = (asked.called, asked.at.to_rfc3339(), asked.table_hash);
        match selection.verify(index, cdr.originating_member, &table) {
            Ok(()) => say(format_args!(
                "Made again for {called} at {at} on version {version} of the route table, hash {hash}: the same."
            )),
            Err(Mismatch::OtherTable { found, .. }) => {
                bail!(
                    "version {version} of the route table has the hash {found}, not {hash} as the call says"
                )
            }
            Err(Mismatch::OtherAnswer(answer)) => {
                say(explain(&table, from, &answer).trim_end());
                bail!(
                    "made again for {called} at {at} the selection is the one above, and not that of the call"
                );
            }
            Err(Mismatch::NotSaid) => bail!("the selection does not say what it was made of"),
        }
    }
    Ok(())
}
