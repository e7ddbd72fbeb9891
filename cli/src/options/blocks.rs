//! Input and output of block devices: who is how important, and how much anybody may.

use api_types::{BlkioWeightDevice, ThrottleDevice};

use crate::units;

/// `/dev/sda:200`.
pub(crate) fn weight(text: &str) -> Result<BlkioWeightDevice, String> {
    let (path, weight) = device(text, "WEIGHT")?;
    let weight = weight
        .parse()
        .ok()
        .filter(|weight| (10..=1000).contains(weight) || *weight == 0)
        .ok_or_else(|| format!("invalid weight for device: {text} (it is 10 to 1000)"))?;
    Ok(BlkioWeightDevice { path, weight })
}

/// `/dev/sda:1mb`.
pub(crate) fn bytes(text: &str) -> Result<ThrottleDevice, String> {
    let (path, rate) = device(text, "BYTES")?;
    let rate = units::parse_size(rate)
        .ok()
        .and_then(|bytes| u64::try_from(bytes).ok())
        .ok_or_else(|| format!("invalid rate for device: {text} (bytes a second, as /dev/sda:1mb)"))?;
    Ok(ThrottleDevice { path, rate })
}

/// `/dev/sda:100`.
pub(crate) fn operations(text: &str) -> Result<ThrottleDevice, String> {
    let (path, rate) = device(text, "NUMBER")?;
    let rate = rate
        .parse()
        .map_err(|_| format!("invalid rate for device: {text} (a number, as /dev/sda:100)"))?;
    Ok(ThrottleDevice { path, rate })
}

fn device<'text>(text: &'text str, what: &str) -> Result<(String, &'text str), String> {
    match text.split_once(':') {
        Some((path, amount)) if path.starts_with("/dev/") && !amount.is_empty() => {
            Ok((path.to_owned(), amount))
        }
        Some((path, amount)) if !path.is_empty() && !amount.is_empty() => Err(format!(
            "bad format for device path: {text} (it begins with /dev/)"
        )),
        _ => Err(format!("bad format: {text} (write DEVICE:{what})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_has_a_weight_or_a_rate() {
        let read = |made: Result<ThrottleDevice, String>| made.map(|one| (one.path, one.rate)).ok();
        let path = || "/dev/sda".to_owned();
        assert_eq!(read(bytes("/dev/sda:1mb")), Some((path(), 1 << 20)));
        assert_eq!(read(operations("/dev/sda:100")), Some((path(), 100)));
        assert_eq!(weight("/dev/sda:10").map(|one| one.weight), Ok(10));
        for text in [
            "",
            "/dev/sda",
            "/dev/sda:",
            ":1",
            "sda:1",
            "/dev/sda:x",
            "/dev/sda:-1",
            "/dev/sda:1x",
        ] {
            assert_eq!(read(bytes(text)), None, "{text}");
            assert_eq!(read(operations(text)), None, "{text}");
            assert!(weight(text).is_err(), "{text}");
        }
        assert!(weight("/dev/sda:9").is_err() && weight("/dev/sda:1001").is_err());
    }
}
