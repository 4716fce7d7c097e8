//! The state of a stage: what an error leaves of it, what the next stage takes over, and triggers.

use corten_dockerfile::{BaseConfig, Span, Step, resolve, triggers};

use super::{planned, steps};

#[test]
fn an_error_leaves_the_state_alone() {
    let plan = planned("FROM a\nARG x=1 y=${z:?}\n", &[]).unwrap();
    let mut state = plan.begin(0, &BaseConfig::default());
    let before = state.clone();
    resolve(&plan.stages[0].instructions[0], &mut state).unwrap_err();
    assert_eq!(state, before);
}

#[test]
fn a_stage_on_a_stage_keeps_its_state() {
    let text = "FROM a AS b\nENV x=1\nARG x=2 y=3\nCMD c\nFROM b\nENTRYPOINT e\n";
    let plan = planned(text, &[]).unwrap();
    let mut first = plan.begin(0, &BaseConfig::default());
    for instruction in &plan.stages[0].instructions {
        resolve(instruction, &mut first).unwrap();
    }
    let value = |state: &corten_dockerfile::StageState, name: &str| {
        state
            .env
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.clone())
    };
    assert_eq!(value(&first, "x").as_deref(), Some("2"));
    let mut second = plan.begin_on(1, &first);
    // ENV of the base wins again over its ARG.
    assert_eq!(value(&second, "x").as_deref(), Some("1"));
    assert_eq!(value(&second, "y").as_deref(), Some("3"));
    let step = resolve(&plan.stages[1].instructions[0], &mut second)
        .unwrap()
        .step;
    assert!(
        matches!(
            step,
            Step::Entrypoint {
                clear_cmd: true,
                ..
            }
        ),
        "{step:?}"
    );
}

#[test]
fn triggers_of_a_base_image() {
    let from = Span {
        line: 3,
        column: 1,
        start: 20,
        end: 26,
    };
    let found = triggers(&["RUN x".to_owned(), "COPY <<f /\n1\nf".to_owned()], from).unwrap();
    assert_eq!(
        found.iter().map(|i| i.name).collect::<Vec<_>>(),
        ["RUN", "COPY"]
    );
    assert!(found.iter().all(|i| i.span == from));
    for bad in [
        "FROM a",
        "MAINTAINER m",
        "ONBUILD RUN x",
        "RUN x\nRUN y",
        "",
        "RNU x",
    ] {
        let diagnostic = triggers(&[bad.to_owned()], from).unwrap_err();
        assert_eq!(diagnostic.span, from);
        let label = diagnostic.label.unwrap();
        assert!(
            label.starts_with("from ONBUILD of the base image: `"),
            "{bad:?}: {label}"
        );
    }
}

#[test]
fn on_build_keeps_its_text() {
    let step = |text: &str| {
        let text = format!("FROM a\n{text}\n");
        match steps(&text, &[], &BaseConfig::default())
            .unwrap()
            .pop()
            .unwrap()
            .step
        {
            Step::OnBuild(text) => text,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(step("ONBUILD RUN a \\\n  b"), "RUN a   b");
    assert_eq!(step("onbuild COPY <<f $x\n1\nf"), "COPY <<f $x\n1\nf");
}
