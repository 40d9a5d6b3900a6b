//! Tones in WAV files: made for one end, looked for at the other.

use std::f64::consts::TAU;
use std::fs;
use std::path::Path;

/// Samples a second: G.711's.
pub const RATE: u32 = 8_000;

/// A sine at half amplitude, as the samples of a WAV file.
pub fn sine(hertz: f64, seconds: u32) -> Vec<i16> {
    let sample = |index: u32| {
        let value = 0.5 * f64::from(i16::MAX) * (TAU * hertz * f64::from(index) / f64::from(RATE)).sin();
        #[expect(clippy::cast_possible_truncation, reason = "half of the greatest sample fits")]
        {
            value as i16
        }
    };
    (0..seconds * RATE).map(sample).collect()
}

/// Writes 16-bit mono PCM.
pub fn write_wav(path: &Path, samples: &[i16]) {
    let length = u32::try_from(samples.len() * 2).expect("a test tone is short");
    let mut file = Vec::with_capacity(samples.len() * 2 + 44);
    file.extend(b"RIFF");
    file.extend((36 + length).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend(RATE.to_le_bytes());
    file.extend((RATE * 2).to_le_bytes());
    file.extend(b"\x02\0\x10\0data");
    file.extend(length.to_le_bytes());
    file.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    fs::write(path, file).expect("the tone can be written");
}

/// Reads 16-bit mono PCM. The length in the header is not trusted: a recorder that was ended may not have set it.
pub fn read_wav(path: &Path) -> Vec<i16> {
    let file = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let data = file.windows(4).position(|chunk| chunk == b"data").expect("a WAV file has a data chunk");
    file[data + 8..].chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
}

/// Share of the signal's power at one frequency, 0 to 1 (Goertzel's algorithm, in stretches of a fifth of a second).
pub fn share_of(samples: &[i16], hertz: f64) -> f64 {
    let coefficient = 2.0 * (TAU * hertz / f64::from(RATE)).cos();
    let (mut at_frequency, mut all) = (0.0, 0.0);
    for stretch in samples.chunks_exact(1_600) {
        let (mut last, mut before) = (0.0, 0.0);
        for &sample in stretch {
            let sample = f64::from(sample);
            (last, before) = (sample + coefficient * last - before, last);
            all += sample * sample;
        }
        at_frequency += (last * last + before * before - coefficient * last * before) * 2.0 / 1_600.0;
    }
    if all > 0.0 { at_frequency / all } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_is_found_at_its_frequency_and_at_no_other() {
        let samples = sine(440.0, 2);
        assert!(share_of(&samples, 440.0) > 0.99);
        assert!(share_of(&samples, 1_000.0) < 0.01);
        assert!(share_of(&[0; 16_000], 440.0) < 0.01);
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("tone.wav");
        write_wav(&file, &sine(440.0, 1));
        assert_eq!(read_wav(&file), sine(440.0, 1));
    }
}
