//! Lists that come page by page: tags, repositories (distribution-spec, Listing Tags).

use corten_content::Result as ContentResult;
use corten_spec::reference;
use serde::Deserialize;

use crate::auth::Realm;
use crate::body::read_body;
use crate::client::{Call, Client};
use crate::repository::{Repository, longest_manifest};
use crate::transport::{Body, Headers, Method};
use crate::{Error, Result, Url, header};

/// Which part of a list is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Part {
    /// Only what comes after this name, which need not be in the list.
    pub after: Option<String>,
    /// At most so many names.
    pub limit: Option<usize>,
}

/// Bytes of all pages together: a list is kept in memory.
const LONGEST_LIST: u64 = 64 << 20;
/// Names that are asked for at once.
const PAGE: usize = 1000;

impl Repository {
    /// Lists the repository's tags, in the registry's order.
    pub fn tags(&self) -> ContentResult<Vec<String>> {
        self.tags_of(&Part::default())
    }

    /// Lists a part of the repository's tags, in the registry's order.
    pub fn tags_of(&self, part: &Part) -> ContentResult<Vec<String>> {
        #[derive(Deserialize)]
        struct Page {
            // Some registries answer `null` for none.
            tags: Option<Vec<String>>,
        }
        let list = self.origin.url("tags/list");
        let names = names(&self.client, part, &list, &self.realm(), |body| {
            let page: Page = serde_json::from_slice(body).ok()?;
            Some(page.tags.unwrap_or_default())
        });
        let mut tags = names.map_err(|error| error.into_content(&self.name, "tags"))?;
        tags.retain(|tag| reference::is_tag(tag));
        Ok(tags)
    }

    fn realm(&self) -> Realm {
        self.origin.pull(Method::Get, "tags/list").realm
    }
}

impl Client {
    /// Lists a part of the repositories of the registry `host`, in the registry's order.
    ///
    /// The list is no part of the specification, and many registries have none.
    pub fn catalog(&self, host: &str, part: &Part) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        struct Page {
            repositories: Option<Vec<String>>,
        }
        let base = self.settings().base(host)?;
        let realm = Realm {
            host: host.to_owned(),
            repository: String::new(),
            // As distribution's token server calls it.
            scopes: vec!["registry:catalog:*".to_owned()],
            home: base.clone(),
        };
        let mut found = names(self, part, &base.below("_catalog"), &realm, |body| {
            let page: Page = serde_json::from_slice(body).ok()?;
            Some(page.repositories.unwrap_or_default())
        })?;
        // What is no name of a repository cannot be asked for, and could be anything.
        found.retain(|name| {
            format!("{host}/{name}")
                .parse::<corten_spec::Reference>()
                .is_ok()
        });
        Ok(found)
    }
}

/// Reads the names of a list, of whose pages `read` makes names.
fn names(
    client: &Client,
    part: &Part,
    list: &Url,
    realm: &Realm,
    read: impl Fn(&[u8]) -> Option<Vec<String>>,
) -> Result<Vec<String>> {
    let asked = part.limit.unwrap_or(PAGE).clamp(1, PAGE);
    let page_after = |last: Option<&str>| {
        let url = list.clone().with("n", &asked.to_string());
        last.map_or(url.clone(), |last| url.with("last", last))
    };
    let mut names: Vec<String> = Vec::new();
    let is_enough = |names: &[String]| part.limit.is_some_and(|limit| names.len() >= limit);
    if part.limit == Some(0) {
        return Ok(names);
    }
    let first = page_after(part.after.as_deref());
    let mut knows_pages = true;
    pages(client, first, realm, |url, body| {
        let page = read(body).ok_or_else(|| Error::Protocol {
            url: url.clone(),
            reason: "it is no list of names".into(),
        })?;
        let (n_page, last) = (page.len(), page.last().cloned());
        let is_before = |name: &String| part.after.as_ref() == Some(name);
        knows_pages &= n_page <= asked && !page.iter().any(is_before);
        // A registry that knows no pages sends all of it again: nothing in it is new.
        let is_again = n_page > 0 && names.ends_with(&page);
        if !is_again {
            names.extend(page);
        }
        Ok(match last {
            _ if is_enough(&names) && knows_pages => Next::Enough,
            // Without a link there is more only behind a page that is just full.
            Some(last) if n_page == asked && !is_again => Next::Else(page_after(Some(&last))),
            Some(_) | None => Next::Linked,
        })
    })?;
    if !knows_pages {
        // Distribution 2 sends all of its tags, in no order, whatever it is asked for.
        names.sort_unstable();
        names.retain(|name| part.after.as_ref().is_none_or(|after| name > after));
    }
    names.truncate(part.limit.unwrap_or(usize::MAX));
    Ok(names)
}

/// What comes after a page.
pub(crate) enum Next {
    /// Nothing that is wanted.
    Enough,
    /// What the page links to, if anything.
    Linked,
    /// What the page links to, else this.
    Else(Url),
}

/// Reads a list page by page; `take` gets each page's URL and body.
pub(crate) fn pages(
    client: &Client,
    first: Url,
    realm: &Realm,
    mut take: impl FnMut(&Url, &[u8]) -> Result<Next>,
) -> Result<()> {
    /// At a thousand entries a page this is more than any registry has; it ends a circle.
    const LIMIT: usize = 10_000;
    let mut left = LONGEST_LIST;
    let mut url = first;
    for _ in 0..LIMIT {
        let call = Call {
            method: Method::Get,
            url: url.clone(),
            headers: Headers::new(),
            body: Body::Empty,
            realm: realm.clone(),
        };
        let response = client.expect(call, &[200])?;
        let link = response.headers.values("link").find_map(header::next_link);
        let linked = match link {
            Some(link) => Some(url.join(link)?),
            None => None,
        };
        let page = read_body(response, longest_manifest(), &url)?;
        left = left
            .checked_sub(page.len() as u64)
            .ok_or_else(|| Error::Protocol {
                url: url.clone(),
                reason: format!("its pages together are longer than {LONGEST_LIST} bytes"),
            })?;
        let next = match take(&url, &page)? {
            Next::Enough => None,
            Next::Linked => linked,
            Next::Else(other) => linked.or(Some(other)),
        };
        match next {
            // Our token goes along, so the list has to go on where it began.
            Some(next) if next.has_origin_of(&url) && next != url => url = next,
            Some(_) => {
                return Err(Error::Protocol {
                    url,
                    reason: "its next page is the same page, or another server's".into(),
                });
            }
            None => return Ok(()),
        }
    }
    Err(Error::Protocol {
        url,
        reason: format!("it has more than {LIMIT} pages"),
    })
}
