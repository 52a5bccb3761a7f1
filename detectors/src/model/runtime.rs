//! Loading ONNX Runtime's shared library, once per process.

use std::{
    io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

use ort::environment::Environment;
use parking_lot::Mutex;

use super::ModelError;

/// The environment that all sessions live in. `ort` keeps only a weak pointer to it, and allows
/// one per process.
static ENVIRONMENT: Mutex<Option<Environment>> = Mutex::new(None);

/// Name of the environment variable that `ort`'s users know.
const VARIABLE: &str = "ORT_DYLIB_PATH";

/// What keeps ONNX Runtime from making up a device's id below the user's cache folder and from sending
/// what it counts. It reads the variable when its environment is made, before any setting can be made.
const NO_TELEMETRY: (&str, &str) = ("ORT_DISABLE_TELEMETRY", "1");

/// Starts this process anew with telemetry of ONNX Runtime switched off, and with `settings` of the
/// allocator where nothing else is set, unless all of that is so: libraries read the environment of
/// the process, which a program cannot change safely once it runs. To be called before anything else;
/// it returns where nothing is to be done, or where it cannot be.
pub fn settle_environment(settings: &[(&str, &str)]) -> io::Result<()> {
    let (name, value) = NO_TELEMETRY;
    let telling = std::env::var_os(name).is_none_or(|set| set != value);
    let missing = |(name, _): &&(&str, &str)| std::env::var_os(name).is_none();
    let missing: Vec<_> = settings.iter().filter(missing).copied().collect();
    if !telling && missing.is_empty() {
        return Ok(());
    }
    let mut arguments = std::env::args_os();
    let mut again = Command::new(std::env::current_exe()?);
    if let Some(called) = arguments.next() {
        again.arg0(called);
    }
    // The same process, with its id, its files and its parent.
    Err(again.args(arguments).env(name, value).envs(missing).exec())
}

/// Loads ONNX Runtime: from `named` where the configuration names a library, else from
/// `models_dir/runtime/libonnxruntime.so`, else from where `ORT_DYLIB_PATH` points.
///
/// A library that is named and absent is an error and not a reason to look further. The first
/// call that succeeds settles it for the process; later ones do nothing.
pub fn init_runtime(named: Option<&Path>, models_dir: &Path) -> Result<(), ModelError> {
    let mut environment = ENVIRONMENT.lock();
    if environment.is_none() {
        let variable = std::env::var_os(VARIABLE).map(PathBuf::from);
        *environment = Some(load(&find(named, models_dir, variable)?)?);
    }
    Ok(())
}

/// The loaded runtime. `ort` panics where it is used without.
pub(super) fn environment() -> Option<Environment> {
    ENVIRONMENT.lock().clone()
}

fn find(
    named: Option<&Path>,
    models_dir: &Path,
    variable: Option<PathBuf>,
) -> Result<PathBuf, ModelError> {
    let candidates = match named {
        Some(path) => vec![path.to_path_buf()],
        None => std::iter::once(models_dir.join("runtime").join("libonnxruntime.so"))
            .chain(variable.filter(|path| !path.as_os_str().is_empty()))
            .collect(),
    };
    match candidates.iter().find(|path| path.is_file()) {
        Some(path) => Ok(path.clone()),
        None => Err(ModelError::RuntimeMissing {
            looked: candidates
                .iter()
                .map(|path| path.display().to_string())
                .collect::<Vec<_>>()
                .join(" and "),
        }),
    }
}

fn load(path: &Path) -> Result<Environment, ModelError> {
    let broken = |reason: String| ModelError::RuntimeBroken {
        path: path.to_path_buf(),
        reason,
    };
    // `ort` takes a relative path as relative to the executable; ours is to the working directory.
    let path = path
        .canonicalize()
        .map_err(|error| broken(error.to_string()))?;
    ort::init_from(&path)
        .map_err(|error| broken(error.to_string()))?
        .with_name("thornwall")
        .with_telemetry(false)
        .build()
        .map_err(|error| broken(error.message().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn library_is_looked_for_in_order() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let file = here.join("Cargo.toml");
        let other = here.join("src/lib.rs");
        let nowhere = here.join("nowhere");
        let check = |named: Option<&Path>, variable: Option<&Path>, found: Option<&Path>| {
            let variable = variable.map(Path::to_path_buf);
            let said = find(named, here, variable).ok();
            assert_eq!(said.as_deref(), found, "{named:?}");
        };
        check(Some(&file), Some(&other), Some(&file));
        check(None, Some(&other), Some(&other));
        check(Some(&nowhere), Some(&other), None);
        check(None, Some(Path::new("")), None);
        check(None, None, None);
    }

    #[test]
    fn absent_library_names_the_command_that_installs_it() {
        let named = Path::new("/nowhere/libonnxruntime.so");
        let said = find(Some(named), Path::new("models"), None).expect_err("nothing lies there");
        let said = said.to_string();
        assert!(said.contains("models/fetch-runtime"), "{said}");
        assert!(said.contains("/nowhere/libonnxruntime.so"), "{said}");
    }

    #[test]
    fn file_that_is_no_library_is_an_error_and_not_a_panic() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let said = load(&file).expect_err("a text is no library").to_string();
        assert!(said.contains("models/fetch-runtime"), "{said}");
    }
}
