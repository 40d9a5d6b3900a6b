//! Integers in as many bytes as the largest of their kind needs.

/// Bytes that a value needs; none for 0.
pub(crate) fn width(value: u64) -> usize {
    value.checked_ilog2().map_or(0, |bits| bits as usize / 8 + 1)
}

/// The integer of so many bytes, 0 to 8, that begins there; at least eight bytes follow.
// A caller that does not use the integer then does not wait for the memory that it is in.
#[inline(always)]
pub(crate) fn word(bytes: &[u8], begin: usize, width: u8) -> u64 {
    let eight = bytes[begin..begin + 8].try_into().expect("they are eight");
    u64::from_le_bytes(eight) & !u64::MAX.checked_shl(u32::from(width) * 8).unwrap_or(0)
}

/// Integers and other bytes, one after another; eight bytes follow the last.
pub(crate) struct Bytes {
    bytes: Vec<u8>,
    len: usize,
}

impl Bytes {
    /// Place for so many.
    pub(crate) fn of(len: usize) -> Self {
        Self { bytes: vec![0; len + 8], len: 0 }
    }

    /// The lowest `width` bytes of it. All eight are written, which is faster, and what comes next over them.
    pub(crate) fn push(&mut self, value: u64, width: u8) {
        self.bytes[self.len..self.len + 8].copy_from_slice(&value.to_le_bytes());
        self.len += usize::from(width);
    }

    /// The bytes as they are.
    pub(crate) fn push_all(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    pub(crate) fn finish(self) -> Box<[u8]> {
        self.bytes.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_is_read_from_as_many_bytes_as_it_needs() {
        for (value, bytes) in [(0, 0), (1, 1), (255, 1), (256, 2), (u64::MAX >> 8, 7), (u64::MAX, 8)] {
            assert_eq!(width(value), bytes);
            let mut written = Bytes::of(1 + bytes + 3);
            written.push_all(&[0xee]);
            written.push(value, bytes as u8);
            written.push_all(&[0xff; 3]);
            assert_eq!(word(&written.finish(), 1, bytes as u8), value);
        }
    }
}
