//! The overlay driver's options, typed. Keys are Docker's.

use model::{Labels, Vni};

use crate::{
    Error, Result,
    options::{self, INTERFACE_PREFIX, MTU},
};

const VNIS: &str = "com.docker.network.driver.overlay.vxlanid_list";
const ENCRYPTED: &str = "encrypted";

const KNOWN: [&str; 4] = [VNIS, MTU, INTERFACE_PREFIX, ENCRYPTED];

/// What an overlay network can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverlayOptions {
    /// Network identifiers for its pools, in their order; may be fewer.
    pub vnis: Vec<Vni>,
    /// MTU in bytes; none for the underlay's less what a tunnel takes.
    pub mtu: Option<u32>,
    /// Start of interface names inside sandboxes; none for `eth`.
    pub interface_prefix: Option<String>,
}

impl OverlayOptions {
    /// Reads them; refuses what the driver doesn't have or can't use.
    pub fn parse(options: &Labels) -> Result<Self> {
        options::refuse_unknown("overlay", &KNOWN, options)?;
        refuse_encryption(options)?;
        Ok(Self {
            vnis: vnis(options)?,
            mtu: options::mtu(options)?,
            interface_prefix: options::interface_prefix(options)?,
        })
    }
}

/// To Docker the key's presence switches it on, whatever its value. Carrying such a network in the clear would be worse
/// than not having it.
fn refuse_encryption(options: &Labels) -> Result<()> {
    match options.get(ENCRYPTED).map(String::as_str) {
        None | Some("false") => Ok(()),
        Some(_) => Err(Error::Invalid {
            message: "encrypted overlay networks are not supported yet".to_owned(),
            hint: Some("leave out \"encrypted\" and trust the underlay, or encrypt it".to_owned()),
        }),
    }
}

fn vnis(options: &Labels) -> Result<Vec<Vni>> {
    let Some(list) = options.get(VNIS).filter(|list| !list.is_empty()) else {
        return Ok(Vec::new());
    };
    let mut vnis = Vec::new();
    for text in list.split(',') {
        let number = text.trim().parse().ok();
        let vni = number.and_then(|number| Vni::new(number).ok());
        let vni = vni.ok_or_else(|| options::invalid(VNIS, list, "a list of numbers from 1 to 16777215"))?;
        if vnis.contains(&vni) {
            return Err(options::invalid(VNIS, list, "a list without repetitions"));
        }
        vnis.push(vni);
    }
    Ok(vnis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(key: &str, value: &str) -> Result<OverlayOptions> {
        OverlayOptions::parse(&Labels::from([(key.to_owned(), value.to_owned())]))
    }

    #[test]
    fn network_identifiers_are_read_in_their_order() {
        let options = parse(VNIS, "4097, 256").expect("a list");
        assert_eq!(
            options.vnis,
            [4097, 256].map(|number| Vni::new(number).expect("in range"))
        );
        assert_eq!(parse(VNIS, "").expect("an empty one").vnis, []);
    }

    #[test]
    fn what_can_not_be_used_is_refused_with_a_hint() {
        let rows = [
            (VNIS, "0", "can't be \"0\""),
            (VNIS, "16777216", "can't be"),
            (VNIS, "256,256", "can't be \"256,256\""),
            (VNIS, "256,", "can't be"),
            (ENCRYPTED, "", "not supported yet"),
            (ENCRYPTED, "true", "not supported yet"),
            (MTU, "many", "can't be \"many\""),
            (
                "com.docker.network.driver.overlay.vxlanid_lst",
                "1",
                "has no option",
            ),
        ];
        for (key, value, wanted) in rows {
            match parse(key, value) {
                Err(Error::Invalid {
                    message,
                    hint: Some(_),
                }) => {
                    assert!(message.contains(wanted), "{key}={value}: {message}");
                }
                other => panic!("{key}={value}: {other:?}"),
            }
        }
    }
}
