//! QR codes (ISO/IEC 18004): in the terminal, and as PNG files.

use crate::face::cli::exit::{Exit, Failure};
use crate::face::cli::{print, shown};
use qrcode::render::unicode::Dense1x2;
use qrcode::{Color, EcLevel, QrCode};
use std::io::{IsTerminal as _, Write as _};
use std::path::Path;

/// Light modules around the code, as the standard asks.
const QUIET: usize = 4;
/// Pixels of a module's side in a PNG file.
const SCALE: usize = 8;

fn code(text: &str) -> Result<QrCode, Failure> {
    QrCode::with_error_correction_level(text, EcLevel::M)
        .map_err(|error| Failure::new(Exit::Data, format_args!("no QR code can be made of this: {error}")))
}

/// Prints a code. At a terminal it is black on white, whatever the terminal's colours are.
pub(super) fn show(text: &str) -> Result<(), Failure> {
    let picture = code(text)?.render::<Dense1x2>().build();
    let coloured = std::io::stdout().is_terminal();
    for line in picture.lines() {
        let line = if coloured { format!("\x1b[30;107m{line}\x1b[0m\n") } else { format!("{line}\n") };
        print(line.as_bytes())?;
    }
    Ok(())
}

/// Writes a code to a new file that only its owner can read.
pub(super) fn write(text: &str, path: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let bytes = png(text)?;
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all())).map_err(|error| {
        Failure::new(Exit::CannotCreate, format_args!("{} cannot be written: {error}", shown(path)))
            .hint("name a file that is not there yet")
    })
}

/// The picture, one bit a pixel, white 1.
fn png(text: &str) -> Result<Vec<u8>, Failure> {
    let code = code(text)?;
    let (width, colors) = (code.width(), code.to_colors());
    let side = (width + 2 * QUIET) * SCALE;
    let is_dark = |x: usize, y: usize| {
        let module = |at: usize| (at / SCALE).checked_sub(QUIET).filter(|at| *at < width);
        matches!((module(x), module(y)), (Some(x), Some(y)) if colors[y * width + x] == Color::Dark)
    };
    let mut rows = vec![0u8; side.div_ceil(8) * side];
    for (y, row) in rows.chunks_mut(side.div_ceil(8)).enumerate() {
        for x in (0..side).filter(|x| !is_dark(*x, y)) {
            row[x / 8] |= 0x80 >> (x % 8);
        }
    }
    let mut bytes = Vec::new();
    let pixels = u32::try_from(side).map_err(|error| Failure::new(Exit::Software, error))?;
    let mut encoder = png::Encoder::new(&mut bytes, pixels, pixels);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::One);
    let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(&rows));
    written.map_err(|error| Failure::new(Exit::Software, error))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the code in a picture of so many pixels' side.
    fn read(side: usize, luma: impl Fn(usize, usize) -> u8) -> String {
        let mut picture = rqrr::PreparedImage::prepare_from_greyscale(side, side, luma);
        let grids = picture.detect_grids();
        assert_eq!(grids.len(), 1);
        grids[0].decode().unwrap().1
    }

    #[test]
    fn a_camera_reads_what_was_written_to_the_file() {
        let link =
            format!("onionskin:invite/ann.lee@{}/{}", "2gzyxa5ihm7nsggf".repeat(4), "a4dqobyh".repeat(4));
        for text in [link.as_str(), "short"] {
            let bytes = png(text).unwrap();
            let mut reader = png::Decoder::new(std::io::Cursor::new(&bytes)).read_info().unwrap();
            let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
            let info = reader.next_frame(&mut pixels).unwrap();
            assert_eq!((info.width, info.bit_depth), (info.height, png::BitDepth::One));
            let luma = |x: usize, y: usize| 255 * (pixels[y * info.line_size + x / 8] >> (7 - x % 8) & 1);
            assert_eq!(read(info.width as usize, luma), text);
        }
    }

    #[test]
    fn a_camera_reads_what_the_terminal_shows() {
        let text = "ann@2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion";
        let picture = code(text).unwrap().render::<Dense1x2>().build();
        let lines: Vec<Vec<char>> = picture.lines().map(|line| line.chars().collect()).collect();
        let luma = |x: usize, y: usize| {
            let half = lines.get(y / SCALE / 2).and_then(|line| line.get(x / SCALE)).copied().unwrap_or(' ');
            let dark = if (y / SCALE).is_multiple_of(2) { ['█', '▀'] } else { ['█', '▄'] };
            if dark.contains(&half) { 0 } else { 255 }
        };
        assert_eq!(read(lines[0].len() * SCALE, luma), text);
    }

    #[test]
    fn what_is_too_long_for_a_code_is_an_error() {
        assert!(png(&"x".repeat(4000)).is_err());
    }
}
