//! What waits to be sent, on the disk, and what was given up. Both block, and are called beside the tasks.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use parking_lot::Mutex;
use prometheus::IntGauge;
use serde::{Deserialize, Serialize};

use super::{batcher::State, message::Message};

/// Largest outbox that is read: several times what one can come to.
const MOST_OUTBOX_BYTES: u64 = 8 << 20;
/// Size at which the file of dead letters is put aside, in the place of the one before.
const MOST_DEAD_BYTES: u64 = 4 << 20;

/// The file of what one alert has to send, `data_dir/alerts/NAME.json`. It is written whole, and takes the
/// place of the one before at once, so that a crash or a full disk leaves one that can be read.
#[derive(Debug)]
pub(super) struct Outbox(PathBuf);

impl Outbox {
    /// The one of an alert.
    pub(super) fn of(folder: &Path, alert: &str) -> Self {
        Self(folder.join(format!("{alert}.json")))
    }

    /// Alerts that have a file in the folder.
    pub(super) fn names(folder: &Path) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            let name = name.to_str().and_then(|name| name.strip_suffix(".json"));
            names.extend(name.map(str::to_owned));
        }
        Ok(names)
    }

    /// What an earlier process left. A file that cannot be read as one is put aside.
    pub(super) fn load(&self) -> io::Result<State> {
        let file = match File::open(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(State::default()),
            file => file?,
        };
        let mut text = Vec::new();
        file.take(MOST_OUTBOX_BYTES + 1).read_to_end(&mut text)?;
        let read = serde_json::from_slice(&text);
        read.map_err(|error| {
            let aside = self.0.with_extension("damaged");
            let kept = match fs::rename(&self.0, &aside) {
                Ok(()) => format!("it is kept as {}", aside.display()),
                Err(error) => format!("it cannot be put aside: {error}"),
            };
            io::Error::new(io::ErrorKind::InvalidData, format!("{error}; {kept}"))
        })
    }

    /// Writes what waits, as it was encoded.
    pub(super) fn save(&self, state: &[u8]) -> io::Result<()> {
        let folder = self.0.parent().unwrap_or_else(|| Path::new("."));
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        let draft = self.0.with_extension("new");
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(state)?;
        file.sync_all()?;
        fs::rename(&draft, &self.0)?;
        File::open(folder)?.sync_all()
    }

    pub(super) fn remove(&self) -> io::Result<()> {
        fs::remove_file(&self.0)
    }
}

/// A message that was given up: a line of the file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct DeadLetter {
    /// The alert that it was for.
    pub(super) alert: String,
    /// When it was given up (RFC 3339, UTC).
    pub(super) given_up: String,
    /// Tries that were made.
    pub(super) tries: u32,
    /// What was wrong with the last one.
    pub(super) why: String,
    /// What was to be sent.
    pub(super) message: Message,
}

/// The files of what was given up, `data_dir/alerts.dead.jsonl` and the one before it,
/// `alerts.dead.1.jsonl`: JSON, a line each.
#[derive(Debug)]
pub(super) struct DeadLetters {
    path: PathBuf,
    older: PathBuf,
    writing: Mutex<()>,
    letters: IntGauge,
}

impl DeadLetters {
    /// Those of a data directory. The gauge shows how many there are.
    pub(super) fn open(data_dir: &Path, letters: IntGauge) -> Self {
        let opened = Self {
            path: data_dir.join("alerts.dead.jsonl"),
            older: data_dir.join("alerts.dead.1.jsonl"),
            writing: Mutex::default(),
            letters,
        };
        opened.count();
        if opened.letters.get() > 0 {
            log::warn!(
                "alerts were given up earlier; look at them and remove the file; messages={} file={}",
                opened.letters.get(),
                opened.path.display()
            );
        }
        opened
    }

    /// Adds one, whole or not at all.
    pub(super) fn add(&self, letter: &DeadLetter) -> io::Result<()> {
        let mut line = serde_json::to_vec(letter)?;
        line.push(b'\n');
        let _writing = self.writing.lock();
        let size = fs::metadata(&self.path).map_or(0, |file| file.len());
        if size + line.len() as u64 > MOST_DEAD_BYTES {
            if self.older.exists() {
                log::warn!(
                    "the oldest dead letters made room; file={}",
                    self.older.display()
                );
            }
            fs::rename(&self.path, &self.older)?;
        }
        let mut options = OpenOptions::new();
        let mut file = options
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.path)?;
        let size = file.metadata()?.len();
        let written = file.write_all(&line).and_then(|()| file.sync_all());
        if written.is_err() {
            // Half a line would spoil the next one.
            file.set_len(size)?;
        }
        self.count();
        written
    }

    fn count(&self) {
        let lines = [&self.path, &self.older].map(|path| lines_of(path).unwrap_or_default());
        self.letters.set(lines.iter().sum());
    }
}

fn lines_of(path: &Path) -> io::Result<i64> {
    let mut file = BufReader::new(File::open(path)?);
    let mut lines = 0;
    while file.skip_until(b'\n')? > 0 {
        lines += 1;
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::alerts::{batcher::Outgoing, notice::Notice};

    /// What an earlier or a later version has left to send.
    #[test]
    fn the_outbox_file_keeps_its_form() {
        let notice = r#"{"alert_type":"AI_DEFENSE_TEST","reason":"sidecar.alert_test","timestamp":"1970-01-01T00:00:00Z","ip_address":"192.0.2.1","user_agent":"a test of thornwall-sidecar","details":{"site":"test","score":0.0,"action":"alert","steps":[],"case_id":"00000000000000000000000000000000","requests":1,"decision_until":null}}"#;
        let text = format!(
            r#"{{"pile":PILE,"current":{{"message":{{"id":"a","notices":[{notice}],"not_shown":0,"repeated":1,"held":2}},"tries":3,"first_ms":4,"due_ms":5}},"sent_ms":[6]}}"#
        )
        .replace("PILE", r#"{"notices":[],"not_shown":0,"repeated":0,"held":0,"since_ms":0}"#);
        let current = Outgoing {
            message: Message {
                id: "a".to_owned(),
                notices: vec![Notice::test(0)],
                not_shown: 0,
                repeated: 1,
                held: 2,
            },
            tries: 3,
            first_ms: 4,
            due_ms: 5,
        };
        let state = State {
            current: Some(current),
            sent_ms: [6].into(),
            ..State::default()
        };
        assert_eq!(serde_json::to_string(&state).unwrap(), text);
        assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
    }

    fn message(shown: usize) -> Message {
        Message {
            id: "i".to_owned(),
            notices: vec![Notice::test(0); shown],
            not_shown: 0,
            repeated: 0,
            held: 0,
        }
    }

    #[test]
    fn a_spool_is_read_as_it_was_written_and_a_damaged_one_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let spools = folder.path().join("alerts");
        let outbox = Outbox::of(&spools, "ops");
        assert_eq!(outbox.load().unwrap(), State::default());
        let state = State {
            current: Some(Outgoing {
                message: message(1),
                tries: 2,
                first_ms: 3,
                due_ms: 4,
            }),
            ..State::default()
        };
        outbox.save(&serde_json::to_vec(&state).unwrap()).unwrap();
        assert_eq!(outbox.load().unwrap(), state);
        assert_eq!(Outbox::names(&spools).unwrap(), ["ops"]);
        let mode = fs::metadata(&outbox.0).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(&outbox.0, "{\"pile\": 1").unwrap();
        let error = outbox.load().unwrap_err().to_string();
        assert!(error.contains("ops.damaged"), "{error}");
        assert_eq!(outbox.load().unwrap(), State::default());
        assert!(Outbox::names(&spools).unwrap().is_empty());
    }

    #[test]
    fn dead_letters_are_bounded_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        let letters = IntGauge::new("letters", "x").unwrap();
        let dead = DeadLetters::open(folder.path(), letters.clone());
        let letter = DeadLetter {
            alert: "ops".to_owned(),
            given_up: "now".to_owned(),
            tries: 1,
            why: "answered 404".to_owned(),
            message: message(super::super::message::MOST_SHOWN * 40),
        };
        let size = serde_json::to_vec(&letter).unwrap().len() as u64 + 1;
        let fit = MOST_DEAD_BYTES / size;
        for _ in 0..fit * 3 {
            dead.add(&letter).unwrap();
        }
        assert_eq!(letters.get() as u64, 2 * fit);
        let mode = fs::metadata(&dead.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let text = fs::read_to_string(&dead.path).unwrap();
        let first: DeadLetter = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(first.why, "answered 404");
        letters.set(0);
        DeadLetters::open(folder.path(), letters.clone());
        assert_eq!(letters.get() as u64, 2 * fit);
    }
}
