//! Names for containers that come without one: a quality and something of the sea, `calm_lighthouse`.

use model::ContainerName;

const QUALITIES: [&str; 64] = [
    "able", "amber", "ample", "blithe", "bold", "brave", "breezy", "bright", "brisk", "calm", "candid",
    "cheery", "civil", "clear", "coral", "cosy", "crisp", "deep", "eager", "early", "fair", "fleet", "fond",
    "fresh", "gentle", "glad", "golden", "grand", "handy", "hardy", "hearty", "honest", "humble", "ivory",
    "jolly", "keen", "kind", "lively", "lucid", "lunar", "mellow", "merry", "mild", "misty", "neat", "noble",
    "patient", "pearly", "placid", "plucky", "polar", "prompt", "quiet", "ready", "salty", "serene",
    "silver", "steady", "sunny", "swift", "tidal", "trusty", "vivid", "windy",
];

const THINGS: [&str; 64] = [
    "albatross",
    "anchor",
    "anemone",
    "atoll",
    "barge",
    "bay",
    "beacon",
    "bosun",
    "breaker",
    "brig",
    "buoy",
    "canal",
    "cape",
    "cod",
    "compass",
    "cove",
    "crab",
    "current",
    "cutter",
    "delta",
    "dinghy",
    "dock",
    "dolphin",
    "dune",
    "estuary",
    "ferry",
    "fjord",
    "gannet",
    "galleon",
    "gull",
    "halyard",
    "harbor",
    "heron",
    "island",
    "jetty",
    "keel",
    "kelp",
    "ketch",
    "lagoon",
    "lantern",
    "lighthouse",
    "lobster",
    "mast",
    "mooring",
    "narwhal",
    "oar",
    "orca",
    "otter",
    "pelican",
    "petrel",
    "pier",
    "quay",
    "reef",
    "rudder",
    "sail",
    "schooner",
    "sextant",
    "shoal",
    "sloop",
    "strait",
    "tern",
    "tide",
    "voyage",
    "wharf",
];

/// A name for the draw `number`. The first 4,096 draws of the low bits give plain names; after `retries` without a
/// free one a number is put behind, so that names never run out.
pub(super) fn generate(number: u64, retries: u32) -> ContainerName {
    let quality = QUALITIES[(number % 64) as usize];
    let thing = THINGS[(number / 64 % 64) as usize];
    let text = match retries {
        0..=5 => format!("{quality}_{thing}"),
        _ => format!("{quality}_{thing}{}", number / 4096 % 100_000),
    };
    ContainerName::new(text).expect("two words of the lists follow the rule")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_draw_is_a_valid_name_and_the_lists_have_no_word_twice() {
        let names: BTreeSet<String> = (0..4096).map(|number| generate(number, 0).to_string()).collect();
        assert_eq!(names.len(), 4096);
    }

    #[test]
    fn names_never_run_out() {
        assert_eq!(generate(0, 0), generate(4096, 0));
        assert_ne!(generate(0, 6), generate(4096, 6));
    }
}
