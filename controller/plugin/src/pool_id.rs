//! Pure: what a pool is called towards Docker. Everything that later calls need is in it, so nothing has to be remembered.

use std::{fmt, str::FromStr};

use model::{NetworkName, Subnet};

/// A pool: the subnet of a network, there or still to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PoolId {
    pub(crate) network: NetworkName,
    pub(crate) subnet: Subnet,
    /// Where addresses are taken from.
    pub(crate) range: Option<Subnet>,
}

impl fmt::Display for PoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.network, self.subnet)?;
        self.range.map_or(Ok(()), |range| write!(f, ",{range}"))
    }
}

impl FromStr for PoolId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no pool of this driver");
        let mut parts = text.splitn(3, ',');
        let (Some(network), Some(subnet)) = (parts.next(), parts.next()) else {
            return Err(wrong());
        };
        Ok(Self {
            network: network.parse().map_err(|_| wrong())?,
            subnet: subnet.parse().map_err(|_| wrong())?,
            range: parts.next().map(str::parse).transpose().map_err(|_| wrong())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pools_name_says_everything() {
        for text in [
            "ol1,10.5.0.0/24",
            "my.net-2_x,10.5.0.0/16,10.5.9.0/24",
            "ol1,fd00:5::/64",
        ] {
            let pool: PoolId = text.parse().expect(text);
            assert_eq!(pool.to_string(), text);
        }
        for text in [
            "",
            "ol1",
            ",10.5.0.0/24",
            "ol1,10.5.0.1/24",
            "ol1,10.5.0.0/24,x",
            "LocalDefault/10.5.0.0/24",
        ] {
            assert!(text.parse::<PoolId>().is_err(), "{text}");
        }
    }
}
