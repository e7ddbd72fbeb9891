//! Feeds a parser what nobody thought of: bent copies of good inputs, and of those that came to something new.
//!
//! A target is a function of bytes in the tests of the crate that has the parser, in a module `fuzz`:
//! ```
//! fuzz::run("numbers", env!("CARGO_MANIFEST_DIR"), &[b"1,2,3"], |bytes| {
//!     let text = String::from_utf8_lossy(bytes);
//!     text.split(',').map(str::parse::<u8>).collect::<Result<Vec<_>, _>>()
//! });
//! ```
//! What it returns only has to be told apart: an input that comes to another kind of outcome than all before it is bent
//! further. A run is the same each time and of so many inputs ([`CASES`]) that the tests stay quick. Longer ones:
//! `CNM_FUZZ_SECONDS=600 cargo test -p dns fuzz`, each time with other inputs. An input that makes a target panic is
//! written to the crate's folder `fuzz/TARGET`; what lies there is run first by everybody ever after, so that a mended
//! fault stays mended. An endless loop shows as a test that does not end, and the input in `fuzz/TARGET/running`.
#![forbid(unsafe_code)]

mod mutate;

use std::{
    collections::HashSet,
    env, fmt, fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use mutate::Mutator;

/// Inputs of a usual run.
pub const CASES: usize = 10_000;
/// How long a run is instead, in seconds.
pub const SECONDS: &str = "CNM_FUZZ_SECONDS";
/// The longest input.
const LONGEST: usize = 4096;
/// So many inputs are kept to be bent further.
const KEPT: usize = 4096;

/// Runs a target of the crate in this folder on good inputs, on what lies in its folder `fuzz/NAME`, and on bent ones.
///
/// # Panics
/// When the target does, after the input was written down.
pub fn run<T: fmt::Debug>(name: &str, folder: &str, good: &[&[u8]], target: impl Fn(&[u8]) -> T) {
    let longer = env::var(SECONDS).ok().and_then(|text| text.parse().ok());
    let length = match longer.map(Duration::from_secs) {
        Some(time) => Length::Until(Instant::now() + time),
        None => Length::Cases(CASES),
    };
    let own = Path::new(folder).join("fuzz").join(name);
    let count = Run {
        own,
        target,
        seen: HashSet::new(),
        kept: Vec::new(),
    }
    .all(good, &length);
    eprintln!("{name}: {count} inputs");
}

enum Length {
    Cases(usize),
    Until(Instant),
}

struct Run<F> {
    own: PathBuf,
    target: F,
    seen: HashSet<u64>,
    kept: Vec<Vec<u8>>,
}

impl<T: fmt::Debug, F: Fn(&[u8]) -> T> Run<F> {
    fn all(mut self, good: &[&[u8]], length: &Length) -> usize {
        let files = fs::read_dir(&self.own).into_iter().flatten().flatten();
        let files = files.filter_map(|file| fs::read(file.path()).ok());
        let mut first: Vec<Vec<u8>> = good.iter().map(|input| input.to_vec()).chain(files).collect();
        first.push(Vec::new());
        for input in &first {
            self.one(input);
        }
        // All of these are worth bending, whatever they came to.
        self.kept.clone_from(&first);
        let seed = match length {
            Length::Cases(_) => 1,
            Length::Until(_) => hash(format!("{:?}", SystemTime::now()).as_bytes()),
        };
        let mut mutator = Mutator::new(seed);
        let mut count = first.len();
        while !is_over(length, count) {
            let mut input = mutator.bend(&self.kept);
            input.truncate(LONGEST);
            if self.one(&input) && self.kept.len() < KEPT {
                self.kept.push(input);
            }
            count += 1;
        }
        count
    }

    /// Whether it came to something new.
    fn one(&mut self, input: &[u8]) -> bool {
        let long = env::var_os(SECONDS).is_some();
        if long {
            let _ = fs::create_dir_all(&self.own).and_then(|()| fs::write(self.own.join("running"), input));
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| shape(&(self.target)(input))));
        if long {
            let _ = fs::remove_file(self.own.join("running"));
        }
        match outcome {
            Ok(shape) => self.seen.insert(shape),
            Err(panic) => {
                let path = self.own.join(format!("{:016x}", hash(input)));
                let kept = fs::create_dir_all(&self.own).and_then(|()| fs::write(&path, input));
                eprintln!(
                    "{} bytes ({kept:?}: {}): {}",
                    input.len(),
                    path.display(),
                    input.escape_ascii()
                );
                resume_unwind(panic)
            }
        }
    }
}

fn is_over(length: &Length, count: usize) -> bool {
    match length {
        Length::Cases(cases) => count >= *cases,
        Length::Until(end) => Instant::now() >= *end,
    }
}

/// What kind of outcome it is: the words and brackets of its text, without numbers and what is quoted.
fn shape(outcome: &impl fmt::Debug) -> u64 {
    let text = format!("{outcome:?}");
    let mut quoted = false;
    let kind = text.chars().take(400).filter(|letter| {
        quoted ^= *letter == '"';
        !quoted && !letter.is_ascii_digit()
    });
    hash(kind.collect::<String>().as_bytes())
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(folder: &Path, target: impl Fn(&[u8]) -> usize) -> bool {
        let folder = folder.display().to_string();
        catch_unwind(AssertUnwindSafe(|| {
            run("target", &folder, &[b"{\"good\":1}"], target);
        }))
        .is_ok()
    }

    #[test]
    fn what_makes_a_target_panic_is_found_kept_and_tried_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let is_bad = |input: &[u8]| input.len() > 3 && input.starts_with(b"{") && input.contains(&0);
        let fails = |input: &[u8]| {
            assert!(!is_bad(input), "found");
            input.len()
        };
        assert!(!runs(folder.path(), fails), "so many inputs find it");
        let kept: Vec<_> = fs::read_dir(folder.path().join("fuzz/target"))
            .expect("it is kept")
            .collect();
        assert_eq!(kept.len(), 1);
        let path = kept[0].as_ref().expect("a file").path();
        assert!(is_bad(&fs::read(path).expect("a file")));
        let seen = std::cell::RefCell::new(Vec::new());
        assert!(runs(folder.path(), |input| {
            seen.borrow_mut().push(is_bad(input));
            input.len()
        }));
        assert!(seen.borrow()[1], "right after the good one");
    }

    #[test]
    fn a_usual_run_is_the_same_each_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let inputs = || {
            let all = std::cell::RefCell::new(Vec::new());
            assert!(runs(folder.path(), |input| {
                all.borrow_mut().push(input.to_vec());
                input.len()
            }));
            all.into_inner()
        };
        let first = inputs();
        assert_eq!(first.len(), CASES);
        assert_eq!(first, inputs());
        let others = first.iter().collect::<HashSet<_>>().len();
        assert!(others > CASES / 2, "{others} different ones");
    }
}
