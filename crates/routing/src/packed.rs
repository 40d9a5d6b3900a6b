//! Integers in as many bytes as the largest of their kind needs.

/// Bytes that a value needs; none for 0.
pub(crate) fn width(value: u64) -> usize {
    value.checked_ilog2().map_or(0, |bits| bits as usize / 8 + 1)
}

/// The integer of so many bytes, 0 to 8, that begins there; at least eight bytes follow.
pub(crate) fn word(bytes: &[u8], begin: usize, width: u8) -> u64 {
    let eight = bytes[begin..begin + 8].try_into().expect("they are eight");
    u64::from_le_bytes(eight) & !u64::MAX.checked_shl(u32::from(width) * 8).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_is_read_from_as_many_bytes_as_it_needs() {
        for (value, bytes) in [(0, 0), (1, 1), (255, 1), (256, 2), (u64::MAX >> 8, 7), (u64::MAX, 8)] {
            assert_eq!(width(value), bytes);
            let mut written = vec![0xee];
            written.extend_from_slice(&value.to_le_bytes()[..bytes]);
            written.extend_from_slice(&[0xff; 8]);
            assert_eq!(word(&written, 1, bytes as u8), value);
        }
    }
}
