//! What files define, for people who want to know what they could ask for.

use serde::Serialize;
use serde_json::Value;

use crate::stated::Stated;

/// A target or a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedTarget {
    /// What it is asked for by.
    pub name: String,
    /// What its file says of it, and of a group what is in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether it is a group.
    #[serde(rename = "group", skip_serializing_if = "std::ops::Not::not")]
    pub is_group: bool,
}

/// A variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedVariable {
    /// Its name.
    pub name: String,
    /// Its type, if it says one, in words.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// What its file says of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its value: a text as it is, and others as JSON; `None` if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// Returns targets and groups in the order of their names. Those that begin with `_` are for others to
/// inherit.
pub(crate) fn targets(stated: &Stated) -> Vec<ListedTarget> {
    let groups = stated.groups.iter().map(|(name, targets)| {
        let targets = targets.join(", ");
        let description = match stated.descriptions.get(name) {
            Some(description) => format!("{description} ({targets})"),
            None => targets,
        };
        ListedTarget {
            name: name.clone(),
            description: Some(description),
            is_group: true,
        }
    });
    let targets = stated.targets.iter();
    let targets = targets.map(|(name, target)| ListedTarget {
        name: name.clone(),
        description: target
            .get("description")
            .and_then(Value::as_str)
            .map(str::to_owned),
        is_group: false,
    });
    // A group is in the place of a target of the same name.
    let targets = targets.filter(|one| !stated.groups.contains_key(&one.name));
    let mut all: Vec<_> = groups.chain(targets).collect();
    all.retain(|one| !one.name.starts_with('_'));
    all.sort_by(|one, other| one.name.cmp(&other.name));
    all
}
