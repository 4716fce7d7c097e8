//! What happens in a build as objects for programs, one on each line of standard error.
//!
//! docs/reference/progress.md has the fields; fields and events are only ever added.

use std::time::Duration;

use corten_build::Event;
use serde_json::{Value, json};

/// Returns an event that happened `since` the beginning of the build.
pub(super) fn line(event: &Event<'_>, since: Duration) -> String {
    let mut value = value(event);
    if let Some(fields) = value.as_object_mut() {
        fields.insert("seconds".into(), seconds(since));
    }
    value.to_string()
}

fn value(event: &Event<'_>) -> Value {
    match *event {
        Event::Step {
            step,
            stage,
            number,
            total,
            text,
            line,
        } => json!({
            "event": "step",
            "step": step,
            "stage": stage,
            "number": number,
            "total": total,
            "instruction": text,
            "line": line,
        }),
        Event::Cached { step } => json!({ "event": "cached", "step": step }),
        Event::Missed { step, reasons } => json!({
            "event": "missed",
            "step": step,
            "reasons": reasons.iter().map(ToString::to_string).collect::<Vec<_>>(),
        }),
        Event::Output { step, bytes } => json!({
            "event": "output",
            "step": step,
            "text": String::from_utf8_lossy(bytes),
        }),
        Event::Done { step, took } => {
            json!({ "event": "done", "step": step, "took": seconds(took) })
        }
        Event::Failed { step, took } => {
            json!({ "event": "failed", "step": step, "took": seconds(took) })
        }
        Event::Isolated { isolation } => {
            json!({ "event": "isolated", "isolation": isolation.to_string() })
        }
        Event::Detail(text) => json!({ "event": "detail", "text": text }),
        Event::Warning(text) => json!({ "event": "warning", "text": text }),
    }
}

/// Seconds with three places: clocks know no more.
fn seconds(duration: Duration) -> Value {
    let milliseconds = u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
    json!(f64::from(milliseconds) / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events() {
        #[track_caller]
        fn check(event: &Event<'_>, expected: &Value) {
            let line = line(event, Duration::from_micros(1_234_567));
            assert!(!line.contains('\n'), "{line}");
            let found: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(&found, expected);
        }
        check(
            &Event::Step {
                step: 3,
                stage: "a",
                number: 1,
                total: 2,
                text: "RUN x \\\n y",
                line: 9,
            },
            &json!({
                "event": "step", "step": 3, "stage": "a", "number": 1, "total": 2,
                "instruction": "RUN x \\\n y", "line": 9, "seconds": 1.234,
            }),
        );
        check(
            &Event::Output {
                step: 3,
                bytes: b"\xff\n",
            },
            &json!({ "event": "output", "step": 3, "text": "\u{fffd}\n", "seconds": 1.234 }),
        );
        let took = Duration::from_secs(2);
        check(
            &Event::Failed { step: 3, took },
            &json!({ "event": "failed", "step": 3, "took": 2.0, "seconds": 1.234 }),
        );
        check(
            &Event::Warning("w"),
            &json!({ "event": "warning", "text": "w", "seconds": 1.234 }),
        );
    }
}
