//! Commands about contacts who keep letters while one is away.

use crate::model::hold;
use crate::node::holders::Whose;
use clap::{Args, Subcommand};

/// `onionskin holder …`; everybody is named by address or by the name you gave them.
#[derive(Debug, Subcommand)]
pub(crate) enum Holder {
    /// Show who keeps letters for you, for whom you keep letters, and who waits for your answer.
    List,
    /// Ask a contact to keep letters for you while your node is away.
    Ask(Ask),
    /// Say yes to a contact who asked: keep letters for them while their node is away.
    Grant(Grant),
    /// Show or set how large a letter of yours may be that is left with holders. A larger one is announced to its
    /// reader and fetched when both of you are up.
    Limit {
        /// 4K to 896K, in bytes or with K.
        #[arg(value_name = "SIZE", value_parser = size)]
        bytes: Option<u64>,
    },
    /// End it, whichever of you keeps letters for the other; both, if both do. What is kept stays until it is fetched
    /// or its time is over. If they only asked, the question is put away, and they are not told.
    End(End),
}

/// `onionskin holder ask`
#[derive(Debug, Args)]
pub(crate) struct Ask {
    /// Whom.
    #[arg(value_name = "ADDRESS")]
    pub who: String,
    /// How much they are to keep at a time: 4M to 1T, in bytes or with K, M, G or T.
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = size)]
    pub bytes: u64,
    /// For how many days they are to keep each letter: 7 to 38.
    #[arg(long, value_name = "COUNT", default_value_t = hold::DAYS_DEFAULT)]
    pub days: u32,
    /// Ask although another identity of yours, unlocked on this machine now, has the same holder: they can then tell
    /// from the times that both are yours.
    #[arg(long)]
    pub shared: bool,
}

/// `onionskin holder grant`
#[derive(Debug, Args)]
pub(crate) struct Grant {
    /// Whom.
    #[arg(value_name = "ADDRESS")]
    pub who: String,
    /// How much you keep at a time, 4M at least [default, and at most: what they asked for].
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub bytes: Option<u64>,
    /// For how many days you keep each letter, 7 at least [default, and at most: what they asked for].
    #[arg(long, value_name = "COUNT")]
    pub days: Option<u32>,
}

/// `onionskin holder end`
#[derive(Debug, Args)]
pub(crate) struct End {
    /// With whom.
    #[arg(value_name = "ADDRESS")]
    pub who: String,
    /// Only that they keep letters for you.
    #[arg(long, conflicts_with = "theirs")]
    pub mine: bool,
    /// Only that you keep letters for them, or are asked to.
    #[arg(long)]
    pub theirs: bool,
}

impl End {
    /// The one direction that ends; none if both do.
    pub(crate) fn only(&self) -> Option<Whose> {
        self.mine.then_some(Whose::Mine).or(self.theirs.then_some(Whose::Theirs))
    }
}

/// Reads a number of bytes: digits, alone or with K, M, G or T (KiB, MiB, …: 1024 each) behind them.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let text = text.trim().to_ascii_uppercase();
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let shift = match unit {
        "" | "B" => Some(0),
        "K" | "KB" | "KIB" => Some(10),
        "M" | "MB" | "MIB" => Some(20),
        "G" | "GB" | "GIB" => Some(30),
        "T" | "TB" | "TIB" => Some(40),
        _ => None,
    };
    let bytes =
        digits.parse::<u64>().ok().zip(shift).and_then(|(count, shift)| count.checked_mul(1 << shift));
    bytes.ok_or_else(|| "a size is a number of bytes, or a number with K, M, G or T, as in 256M".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bytes_or_powers_of_1024() {
        for (text, bytes) in [
            ("0", 0),
            ("4194304", 4 << 20),
            ("64k", 64 << 10),
            ("256M", hold::BYTES_DEFAULT),
            ("256mib", 256 << 20),
            ("2GB", 2 << 30),
            ("1T", hold::BYTES_MAX),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "M", "-1", "1.5G", "1 G", "256X", "99999999T", "18446744073709551616", "٣"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
