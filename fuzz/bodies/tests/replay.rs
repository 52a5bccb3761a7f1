//! Every fuzz target over its committed seeds and some thousand mutations of them, the same ones each time.

use std::{fs, panic::catch_unwind, path::Path};

use thornwall_fuzz_bodies::{BODIES, Body};

/// Mutations of each target's seeds.
const MUTATIONS: u64 = 4000;
/// Longest input: what is longer says little more, and costs time in every run.
const LONGEST: usize = 4096;
/// Bytes that tend to matter to parsers: ends, separators, digits' neighbours, signs.
const TELLING: &[u8] = b"\0\t\r\n \"#%*+,-./09:;<=>?@AZ[\\]_az{|}\x7f\x80\xbf\xc3\xef\xff";

/// The numbers of SplitMix64 (Steele, Lea and Flood 2014): the same for each seed, on every machine.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `most`; 0 where there is none.
    fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.next() % most.max(1) as u64).unwrap_or_default()
    }
}

fn seeds(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../seeds")
        .join(name);
    let entries =
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut seeds: Vec<(String, Vec<u8>)> = entries
        .map(|entry| {
            let path = entry.expect("the folder is the repository's").path();
            let bytes = fs::read(&path).expect("a seed is a file");
            (path.display().to_string(), bytes)
        })
        .collect();
    seeds.sort();
    assert!(!seeds.is_empty(), "{name} has no seed");
    seeds
}

fn mutated(seeds: &[(String, Vec<u8>)], number: u64) -> Vec<u8> {
    let mut numbers = Numbers(number);
    let mut bytes = seeds[numbers.below(seeds.len())].1.clone();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(bytes.len());
        let end = bytes.len().min(at + 1 + numbers.below(16));
        match numbers.below(7) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << numbers.below(8),
            1 if !bytes.is_empty() => bytes[at] = TELLING[numbers.below(TELLING.len())],
            2 => bytes.insert(at, TELLING[numbers.below(TELLING.len())]),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            5 => bytes.truncate(at),
            _ => {
                let other = &seeds[numbers.below(seeds.len())].1;
                let from = numbers.below(other.len());
                bytes.splice(at.., other[from..].iter().copied());
            }
        }
    }
    bytes.truncate(LONGEST);
    bytes
}

fn holds(name: &str, body: Body, what: &str, bytes: &[u8]) {
    if catch_unwind(|| body(bytes)).is_err() {
        panic!("{name} is broken by {what}: b\"{}\"", bytes.escape_ascii());
    }
}

fn replay(name: &str, body: Body) {
    let seeds = seeds(name);
    for (path, bytes) in &seeds {
        holds(name, body, path, bytes);
    }
    for number in 0..MUTATIONS {
        let what = format!("mutation {number}");
        holds(name, body, &what, &mutated(&seeds, number));
    }
}

#[test]
fn every_target_holds_over_its_seeds_and_their_mutations() {
    for (name, body) in BODIES {
        replay(name, *body);
    }
}

#[test]
fn every_target_of_the_fuzzer_has_a_body_and_seeds() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut targets: Vec<String> = fs::read_dir(fuzz.join("fuzz_targets"))
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    targets.sort();
    let bodies: Vec<&str> = BODIES.iter().map(|(name, _)| *name).collect();
    assert_eq!(targets, bodies);
}

#[test]
fn a_broken_promise_is_noticed() {
    let broken: Body = |bytes| assert!(!bytes.contains(&b'%'));
    let told = catch_unwind(|| replay("address_list", broken));
    assert!(told.is_err(), "mutations never reach a byte");
}
