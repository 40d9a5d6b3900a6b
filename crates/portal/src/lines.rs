//! Answers that are sent line by line, each a JSON text (NDJSON): as long as they are read, and within bounds.
//!
//! Whoever writes the lines waits for who reads them, so that an answer takes little memory however long it is. One
//! that is not read ends, and nobody has more than a few at once.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use serde::Serialize;
use tandem_model::{MemberId, Reason};
use tokio::sync::mpsc;

use crate::problem::ApiError;

/// The media type of lines of JSON.
pub(crate) const MEDIA_TYPE: &str = "application/x-ndjson";

/// Most answers by lines that one member, or the operator, has under way.
pub(crate) const MOST_EACH: u32 = 8;

/// Most answers by lines that are under way altogether.
const MOST: u32 = 512;

/// An answer of which nothing is read for so long is ended.
const LONGEST_STALL: Duration = Duration::from_secs(30);

/// Octets that are gathered before they are sent.
const CHUNK: usize = 32 * 1024;

/// Who has how many answers by lines under way; `None` is the operator.
#[derive(Default)]
pub(crate) struct Streams(Arc<Mutex<HashMap<Option<MemberId>, u32>>>);

/// The place of one answer among those that are under way, until it is dropped.
pub(crate) struct Place {
    of: Option<MemberId>,
    taken: Arc<Mutex<HashMap<Option<MemberId>, u32>>>,
}

impl Streams {
    /// Takes a place.
    pub(crate) fn take(&self, of: Option<MemberId>) -> Result<Place, ApiError> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.get(&of).copied().unwrap_or(0);
        if own >= MOST_EACH || taken.values().sum::<u32>() >= MOST {
            return Err(ApiError::new(Reason::TooManyRequests)
                .detail(format!("{own} answers by lines are under way; end one of them first."))
                .retry_after_s(1));
        }
        *taken.entry(of).or_default() += 1;
        Ok(Place { of, taken: Arc::clone(&self.0) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.of) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.of);
            }
        }
    }
}

/// Nobody reads the answer any more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Gone;

/// The end of an answer at which lines are written.
pub(crate) struct Lines {
    sender: mpsc::Sender<Bytes>,
    gathered: Vec<u8>,
    _place: Place,
}

impl Lines {
    /// An answer that is under way, and where its lines are written.
    pub(crate) fn begin(place: Place) -> (Self, Response) {
        let (sender, receiver) = mpsc::channel(1);
        let octets = stream::unfold(receiver, |mut receiver| async {
            receiver.recv().await.map(|octets| (Ok::<_, Infallible>(octets), receiver))
        });
        // Compression asks once more after the end.
        let octets = octets.fuse();
        let response = ([(header::CONTENT_TYPE, MEDIA_TYPE)], Body::from_stream(octets)).into_response();
        (Self { sender, gathered: Vec::new(), _place: place }, response)
    }

    /// Writes a line, and sends it where enough has been gathered.
    pub(crate) async fn write(&mut self, line: &impl Serialize) -> Result<(), Gone> {
        serde_json::to_writer(&mut self.gathered, line).expect("a view is JSON");
        self.gathered.push(b'\n');
        if self.gathered.len() >= CHUNK { self.flush().await } else { Ok(()) }
    }

    /// Waits until nobody reads it any more.
    pub(crate) async fn gone(&self) {
        self.sender.closed().await;
    }

    /// Sends what has been gathered.
    pub(crate) async fn flush(&mut self) -> Result<(), Gone> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let octets = std::mem::take(&mut self.gathered).into();
        self.sender.send_timeout(octets, LONGEST_STALL).await.map_err(|_| Gone)
    }
}
