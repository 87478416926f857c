//! What the process tells its operator: log lines here, figures in [`metrics`].
//!
//! Never prints what a panic was about, for its words may hold a secret; never lets a library speak below `INFO`, for some
//! print headers and bodies there. Invariant: both hold whatever filter the operator sets (promise P7).
//! Next: [`metrics`] is the one list of figures, `http/ops.rs` shows them.

pub mod incident;
pub mod metrics;

use std::io::{self, IsTerminal};
use std::panic::{Location, PanicHookInfo};

use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry;

/// What is logged, and how.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// `tracing` filter, such as `info` or `token_broker=debug`.
    pub filter: String,
    /// One JSON object a line instead of text.
    pub json: bool,
}

/// Our own crates: the only ones that may speak below `INFO`.
const OURS: [&str; 2] = ["token_broker", "tokenbroker_proto"];

/// Why logging could not start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter cannot be read.
    #[error("log.filter: {0}; use one such as \"info\" or \"info,token_broker=debug\"")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Logging was started before.
    #[error("logging was started before: {0}")]
    Twice(#[from] tracing::subscriber::SetGlobalDefaultError),
}

/// Starts logging to standard error, for the whole process, and takes over how panics are told.
///
/// # Errors
/// [`LogError`], and then nothing has changed.
pub fn start(settings: &LogSettings) -> Result<(), LogError> {
    let subscriber = subscriber(settings, io::stderr, io::stderr().is_terminal())?;
    tracing::subscriber::set_global_default(subscriber)?;
    std::panic::set_hook(Box::new(tell_panic));
    Ok(())
}

fn subscriber<W>(
    settings: &LogSettings,
    writer: W,
    colours: bool,
) -> Result<Box<dyn Subscriber + Send + Sync>, LogError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let chosen = EnvFilter::try_new(&settings.filter)?;
    let filtered = registry().with(chosen).with(filter_fn(may_speak));
    Ok(if settings.json {
        let lines = fmt::layer().json().flatten_event(true).with_writer(writer);
        Box::new(filtered.with(lines))
    } else {
        Box::new(filtered.with(fmt::layer().with_ansi(colours).with_writer(writer)))
    })
}

fn may_speak(metadata: &Metadata<'_>) -> bool {
    let from = metadata.target().split("::").next().unwrap_or_default();
    *metadata.level() <= Level::INFO || OURS.contains(&from)
}

fn tell_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(Location::to_string).unwrap_or_default();
    let thread = std::thread::current();
    tracing::error!(place, thread = thread.name().unwrap_or("unnamed"), "a task panicked");
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Paper {
        fn write(&mut self, part: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(part);
            Ok(part.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(filter: &str, json: bool, act: impl FnOnce()) -> String {
        let paper = Paper::default();
        let settings = LogSettings { filter: filter.to_owned(), json };
        let pen = paper.clone();
        let subscriber = subscriber(&settings, move || pen.clone(), false).unwrap();
        tracing::subscriber::with_default(subscriber, act);
        let bytes = paper.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn libraries_do_not_speak_below_info_whatever_the_filter_says() {
        let told = written("trace", false, || {
            tracing::trace!(target: "h2::codec", "authorization: Bearer canary");
            tracing::debug!(target: "token_brokerish", "canary");
            tracing::info!(target: "h2::codec", "connected");
            tracing::trace!(target: "token_broker::store", "ours");
        });
        assert!(told.contains("connected") && told.contains("ours"), "{told}");
        assert!(!told.contains("canary"), "{told}");
    }

    #[test]
    fn a_line_of_json_is_one_object() {
        let told = written("info", true, || tracing::info!(count = 3, "hello\n\"you\""));
        assert_eq!(told.lines().count(), 1);
        let line: serde_json::Value = serde_json::from_str(&told).unwrap();
        assert_eq!((&line["message"], &line["count"]), (&"hello\n\"you\"".into(), &3.into()));
    }

    #[test]
    fn a_panic_is_told_by_its_place_and_never_by_its_words() {
        let told = written("info", false, || {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(tell_panic));
            let ended = std::panic::catch_unwind(|| panic!("refresh token canary"));
            std::panic::set_hook(before);
            assert!(ended.is_err());
        });
        assert!(told.contains("telemetry.rs:") && told.contains("panicked"), "{told}");
        assert!(!told.contains("canary"), "{told}");
    }

    #[test]
    fn a_wrong_filter_is_refused_with_a_remedy() {
        let settings = LogSettings { filter: "token_broker=loud".to_owned(), json: false };
        let refused = subscriber(&settings, io::sink, false).err().unwrap().to_string();
        assert!(refused.contains("log.filter") && refused.contains("token_broker=debug"));
    }
}
