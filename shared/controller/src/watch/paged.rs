//! A watch whose lists need little memory, whatever the number and size of the objects.

use std::{fmt::Debug, vec};

use futures::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{ListParams, WatchEvent, WatchParams},
    client::Body,
    core::{ListMeta, Request, Status},
    runtime::watcher::{Config, Error, Event, Result},
};
use serde::{Deserialize, de::DeserializeOwned};

/// The intended size of a page of a list, in bytes.
const PAGE: usize = 2 << 20;
/// A larger page is requested again with fewer objects.
const PAGE_MAX: usize = 4 * PAGE;
const FIRST_LIMIT: u32 = 50;
const LIMIT_MAX: u32 = 500;

/// Lists, then watches, and lists again if the API server no longer knows the version of the watch, as
/// [`kube::runtime::watcher()`] does. Its pages have a number of bytes instead of objects, and the fields that `K` does not
/// have are not stored while a page is read.
///
/// The stream never ends. After an error the next attempt begins when the stream is polled.
#[must_use]
pub fn watcher<K>(api: Api<K>, config: Config) -> BoxStream<'static, Result<Event<K>>>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
    Api<K>: Clone + Send + Sync,
{
    let client = api.clone().into_client();
    let watcher = Watcher {
        api,
        client,
        config,
        limit: FIRST_LIMIT,
        state: State::Begin,
    };
    let next = |mut watcher: Watcher<K>| async move { Some((watcher.next().await, watcher)) };
    stream::unfold(watcher, next).boxed()
}

struct Watcher<K> {
    api: Api<K>,
    client: Client,
    config: Config,
    /// The maximum of objects on the next page.
    limit: u32,
    state: State<K>,
}

enum State<K> {
    Begin,
    List {
        objects: vec::IntoIter<K>,
        then: Then,
    },
    /// The watch resumes from this version.
    Start(String),
    Watch {
        version: String,
        events: BoxStream<'static, kube::Result<WatchEvent<K>>>,
    },
}

/// The state after a page.
enum Then {
    /// The page with this token; empty for the first page.
    Page(String),
    /// The watch, from this version.
    Watch(String),
}

/// A page of a list. Unlike kube's `ObjectList`, it skips the fields that `K` does not have.
#[derive(Deserialize)]
struct Page<K> {
    #[serde(default)]
    metadata: ListMeta,
    items: Vec<K>,
}

impl<K> Watcher<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    async fn next(&mut self) -> Result<Event<K>> {
        loop {
            match std::mem::replace(&mut self.state, State::Begin) {
                State::Begin => {
                    self.state = State::List {
                        objects: Vec::new().into_iter(),
                        then: Then::Page(String::new()),
                    };
                    return Ok(Event::Init);
                }
                State::List { mut objects, then } => {
                    if let Some(object) = objects.next() {
                        self.state = State::List { objects, then };
                        return Ok(Event::InitApply(object));
                    }
                    match then {
                        Then::Page(token) => self.list(&token).await?,
                        Then::Watch(version) => {
                            self.state = State::Start(version);
                            return Ok(Event::InitDone);
                        }
                    }
                }
                State::Start(version) => self.start(version).await?,
                State::Watch {
                    version,
                    mut events,
                } => {
                    let event = events.next().await;
                    self.state = State::Watch { version, events };
                    if let Some(event) = self.observe(event)? {
                        return Ok(event);
                    }
                }
            }
        }
    }

    async fn list(&mut self, token: &str) -> Result<()> {
        let page = self.page(token).await.map_err(Error::InitialListFailed)?;
        let version = page.metadata.resource_version;
        let more = page.metadata.continue_.filter(|token| !token.is_empty());
        let then = match (more, version) {
            (Some(token), _) => Then::Page(token),
            (None, Some(version)) if !version.is_empty() => Then::Watch(version),
            (None, _) => return Err(Error::NoResourceVersion),
        };
        self.state = State::List {
            objects: page.items.into_iter(),
            then,
        };
        Ok(())
    }

    /// The page with this token, with as many objects as fit.
    async fn page(&mut self, token: &str) -> kube::Result<Page<K>> {
        loop {
            let Some(bytes) = self.read(token).await? else {
                self.limit = (self.limit / 4).max(1);
                continue;
            };
            let page: Page<K> = serde_json::from_slice(&bytes).map_err(kube::Error::SerdeError)?;
            let each = (bytes.len() / page.items.len().max(1)).max(1);
            let fitting = u32::try_from(PAGE / each).unwrap_or(LIMIT_MAX);
            // It grows slowly, since larger objects may follow.
            self.limit = fitting.min(self.limit * 2).clamp(1, LIMIT_MAX);
            return Ok(page);
        }
    }

    /// The text of a page; none if it is too long.
    async fn read(&mut self, token: &str) -> kube::Result<Option<Vec<u8>>> {
        let params = ListParams {
            label_selector: self.config.label_selector.clone(),
            field_selector: self.config.field_selector.clone(),
            limit: Some(self.limit),
            continue_token: Some(token.to_owned()).filter(|token| !token.is_empty()),
            ..ListParams::default()
        };
        let request = Request::new(self.api.resource_url());
        let mut request = request.list(&params).map_err(kube::Error::BuildRequest)?;
        request.extensions_mut().insert("list");
        let (head, body) = self
            .client
            .send(request.map(Body::from))
            .await?
            .into_parts();
        // A single object is always read: etcd stores none of more than a few megabytes.
        let most = if self.limit > 1 { PAGE_MAX } else { usize::MAX };
        let bytes = match Limited::new(body, most).collect().await {
            Ok(collected) => Vec::from(collected.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => return Ok(None),
            Err(error) => return Err(kube::Error::Service(error)),
        };
        if head.status.is_success() {
            return Ok(Some(bytes));
        }
        let status = serde_json::from_slice(&bytes).unwrap_or_else(|_| {
            let text = String::from_utf8_lossy(&bytes);
            Status::failure(text.trim(), "").with_code(head.status.as_u16())
        });
        Err(kube::Error::Api(status.boxed()))
    }

    async fn start(&mut self, version: String) -> Result<()> {
        let params = WatchParams {
            label_selector: self.config.label_selector.clone(),
            field_selector: self.config.field_selector.clone(),
            timeout: self.config.timeout,
            ..WatchParams::default()
        };
        match self.api.watch(&params, &version).await {
            Ok(events) => {
                let events = events.boxed();
                self.state = State::Watch { version, events };
                Ok(())
            }
            Err(error) => {
                if !matches!(&error, kube::Error::Api(status) if status.code == 410) {
                    self.state = State::Start(version);
                }
                Err(Error::WatchStartFailed(error))
            }
        }
    }

    /// The event for an answer of the watch; updates the version and the state.
    fn observe(&mut self, event: Option<kube::Result<WatchEvent<K>>>) -> Result<Option<Event<K>>> {
        let State::Watch { version, .. } = &mut self.state else {
            return Ok(None);
        };
        let observed = match event {
            Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object))) => {
                Event::Apply(object)
            }
            Some(Ok(WatchEvent::Deleted(object))) => Event::Delete(object),
            Some(Ok(WatchEvent::Bookmark(bookmark))) => {
                *version = bookmark.metadata.resource_version;
                return Ok(None);
            }
            Some(Ok(WatchEvent::Error(status))) => {
                self.state = match status.code {
                    410 => State::Begin,
                    _ => State::Start(std::mem::take(version)),
                };
                return Err(Error::WatchError(status));
            }
            Some(Err(error)) => {
                self.state = State::Start(std::mem::take(version));
                return Err(Error::WatchFailed(error));
            }
            None => {
                self.state = State::Start(std::mem::take(version));
                return Ok(None);
            }
        };
        let (Event::Apply(object) | Event::Delete(object)) = &observed else {
            return Ok(None);
        };
        let Some(next) = object.resource_version().filter(|next| !next.is_empty()) else {
            return Err(Error::NoResourceVersion);
        };
        *version = next;
        Ok(Some(observed))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use http::{Request, Response};
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::{Value, json};
    use tower::service_fn;

    use super::*;

    /// Answers lists with objects of these sizes and watches with these lines; records the pages.
    #[derive(Clone, Default)]
    struct Server(Arc<Mutex<Served>>);

    #[derive(Default)]
    struct Served {
        sizes: Vec<usize>,
        watches: Vec<Vec<Value>>,
        queries: Vec<String>,
        pages: Vec<usize>,
    }

    impl Server {
        fn new(sizes: Vec<usize>, watches: Vec<Vec<Value>>) -> Self {
            let served = Served {
                sizes,
                watches,
                ..Served::default()
            };
            Self(Arc::new(Mutex::new(served)))
        }

        fn events(&self) -> BoxStream<'static, Result<Event<ConfigMap>>> {
            let server = self.clone();
            let service = service_fn(move |request: Request<Body>| {
                let answer = server.answer(&request);
                async move { Ok::<_, std::convert::Infallible>(answer) }
            });
            let client = Client::new(service, "default");
            watcher(Api::all(client), Config::default())
        }

        fn answer(&self, request: &Request<Body>) -> Response<Body> {
            let mut served = self.0.lock().unwrap();
            let query = request.uri().query().unwrap_or_default().to_owned();
            served.queries.push(query.clone());
            let field = |name: &str| {
                let mut fields = query.split('&').filter_map(|field| field.split_once('='));
                fields.find(|(field, _)| *field == name).map(|(_, it)| it)
            };
            if field("watch").is_some() {
                if served.watches.is_empty() {
                    let gone = json!({"kind": "Status", "code": 410, "message": "too old", "reason": "Expired"});
                    let gone = Response::builder()
                        .status(410)
                        .body(gone.to_string().into_bytes().into());
                    return gone.unwrap();
                }
                let lines = served.watches.remove(0);
                let lines: String = lines
                    .iter()
                    .flat_map(|line| [line.to_string(), "\n".to_owned()])
                    .collect();
                return Response::new(lines.into_bytes().into());
            }
            let number = |name| field(name).map_or(0, |it| it.parse::<usize>().unwrap());
            let (from, limit) = (number("continue"), number("limit"));
            let until = (from + limit).min(served.sizes.len());
            let object = |at: usize| object(at, &"x".repeat(served.sizes[at]));
            let items: Vec<Value> = (from..until).map(object).collect();
            let more = if until < served.sizes.len() {
                until.to_string()
            } else {
                String::new()
            };
            let page =
                json!({"items": items, "metadata": {"resourceVersion": "7", "continue": more}});
            let page = page.to_string().into_bytes();
            served.pages.push(page.len());
            Response::new(page.into())
        }
    }

    fn object(at: usize, data: &str) -> Value {
        json!({"metadata": {"name": at.to_string(), "resourceVersion": (at + 100).to_string()}, "data": {"a": data}})
    }

    async fn listed(events: &mut BoxStream<'static, Result<Event<ConfigMap>>>) -> Vec<String> {
        let mut names = Vec::new();
        assert!(matches!(events.next().await, Some(Ok(Event::Init))));
        loop {
            match events.next().await.unwrap().unwrap() {
                Event::InitApply(map) => names.push(map.name_any()),
                Event::InitDone => return names,
                other => panic!("{other:?} in a list"),
            }
        }
    }

    #[tokio::test]
    async fn pages_have_a_size_for_any_objects() {
        let sizes = [vec![10; 3000], vec![300_000; 60], vec![10; 300]].concat();
        let server = Server::new(sizes.clone(), Vec::new());
        let names = listed(&mut server.events()).await;
        let expected: Vec<String> = (0..sizes.len()).map(|at| at.to_string()).collect();
        assert_eq!(names, expected, "each object once, in order");
        let record = server.0.lock().unwrap();
        assert!(record.pages.len() < 60, "{:?}", record.pages);
        // A page that is too long is not read to its end, and asked for again.
        let long = record.pages.iter().filter(|bytes| **bytes > PAGE_MAX);
        assert!((1..=4).contains(&long.count()), "{:?}", record.pages);
    }

    #[tokio::test]
    async fn watch_resumes_where_it_was() {
        let bookmark = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"resourceVersion": "300"}});
        let watches = vec![
            vec![json!({"type": "ADDED", "object": object(50, "")})],
            vec![json!({"type": "BOOKMARK", "object": bookmark})],
            vec![json!({"type": "DELETED", "object": object(250, "")})],
        ];
        let server = Server::new(vec![1], watches);
        let mut events = server.events();
        assert_eq!(listed(&mut events).await, ["0"]);
        assert!(matches!(events.next().await, Some(Ok(Event::Apply(_)))));
        assert!(matches!(events.next().await, Some(Ok(Event::Delete(_)))));
        assert!(matches!(
            events.next().await,
            Some(Err(Error::WatchStartFailed(_)))
        ));
        assert_eq!(
            listed(&mut events).await,
            ["0"],
            "again, since that is too old"
        );
        let record = server.0.lock().unwrap();
        let versions = record
            .queries
            .iter()
            .filter(|query| query.contains("watch="));
        let versions: Vec<_> = versions
            .map(|query| query.rsplit_once("resourceVersion=").unwrap().1.to_owned())
            .collect();
        assert_eq!(versions, ["7", "150", "300", "350"]);
    }
}
