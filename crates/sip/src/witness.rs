//! An independent author's reader: `rsip`, behind the feature `witness`, for simulator and tests.
