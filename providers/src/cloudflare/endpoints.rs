//! The calls that we make, in the terms of the `cloudflare` crate, and what comes back, in our own: its record types
//! are closed, so one CAA record at a name would make the whole answer unreadable, and its error codes end at 65,535.

use std::marker::PhantomData;

use cloudflare::framework::endpoint::spec::EndpointSpec;
use cloudflare::framework::endpoint::{Method, RequestBody};
use serde::{Deserialize, Serialize};

/// One call: method, path below `/client/v4/`, query and body, and the type of the result.
pub(super) struct Call<T> {
    method: Method,
    path: String,
    query: Option<String>,
    body: Option<String>,
    result: PhantomData<T>,
}

impl<T> Call<T> {
    fn get(path: String, query: String) -> Self {
        Call { method: Method::GET, path, query: Some(query), body: None, result: PhantomData }
    }

    pub fn is_question(&self) -> bool {
        self.method == Method::GET
    }
}

impl<T> EndpointSpec for Call<T> {
    /// Answers are read by us, not by the crate.
    type JsonResponse = ();
    type ResponseType = T;

    fn method(&self) -> Method {
        self.method.clone()
    }

    fn path(&self) -> String {
        self.path.clone()
    }

    fn query(&self) -> Option<String> {
        self.query.clone()
    }

    fn body(&self) -> Option<RequestBody<'_>> {
        self.body.clone().map(RequestBody::Json)
    }
}

/// <https://developers.cloudflare.com/api/resources/zones/methods/list>; 50 is the most a page holds.
pub(super) fn zones(page: u64) -> Call<Vec<ApiZone>> {
    Call::get("zones".into(), format!("per_page=50&page={page}"))
}

/// Which records of a zone.
pub(super) enum Filter<'a> {
    Name(&'a str),
    Type(&'a str),
}

/// <https://developers.cloudflare.com/api/resources/dns/subresources/records/methods/list>
pub(super) fn records(zone: &str, filter: &Filter, page: u64) -> Call<Vec<ApiRecord>> {
    // Names and types need no escaping: A-labels and letters.
    let filter = match filter {
        Filter::Name(name) => format!("name.exact={name}"),
        Filter::Type(kind) => format!("type={kind}"),
    };
    Call::get(format!("zones/{zone}/dns_records"), format!("{filter}&per_page=1000&page={page}"))
}

/// Deletes, patches and posts in one transaction, in this order.
/// <https://developers.cloudflare.com/api/resources/dns/subresources/records/methods/batch>
pub(super) fn batch(zone: &str, changes: &Batch) -> Call<serde_json::Value> {
    Call {
        method: Method::POST,
        path: format!("zones/{zone}/dns_records/batch"),
        query: None,
        body: serde_json::to_string(changes).ok(),
        result: PhantomData,
    }
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Batch {
    pub deletes: Vec<Id>,
    pub patches: Vec<Written>,
    pub posts: Vec<Written>,
}

#[derive(Debug, Serialize)]
pub(super) struct Id {
    pub id: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Written {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub name: String,
    pub content: String,
    pub ttl: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

impl Batch {
    pub fn len(&self) -> usize {
        self.deletes.len() + self.patches.len() + self.posts.len()
    }

    pub fn append(&mut self, other: Batch) {
        self.deletes.extend(other.deletes);
        self.patches.extend(other.patches);
        self.posts.extend(other.posts);
    }
}

/// The envelope of every answer.
#[derive(Deserialize)]
pub(super) struct Reply<T> {
    pub success: bool,
    #[serde(default = "none")]
    pub result: Option<T>,
    #[serde(default)]
    pub errors: Option<Vec<ApiError>>,
    #[serde(default)]
    pub result_info: Option<Pages>,
}

fn none<T>() -> Option<T> {
    None
}

#[derive(Debug, Deserialize)]
pub(super) struct ApiError {
    pub code: u64,
    #[serde(default)]
    pub message: String,
    /// What is really wrong, below a general 1004 "DNS Validation Error".
    #[serde(default)]
    pub error_chain: Vec<ApiError>,
}

#[derive(Deserialize)]
pub(super) struct Pages {
    #[serde(default)]
    pub total_pages: u64,
}

#[derive(Deserialize)]
pub(super) struct ApiZone {
    pub id: String,
    pub name: String,
    /// full, partial, secondary, internal, and what else there may come.
    #[serde(default, rename = "type")]
    pub kind: String,
    #[serde(default)]
    pub plan: Option<Plan>,
}

#[derive(Deserialize)]
pub(super) struct Plan {
    /// free, pro, business, enterprise.
    #[serde(default)]
    pub legacy_id: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct ApiRecord {
    pub id: String,
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    /// Some types have none, only `data`.
    #[serde(default)]
    pub content: String,
    #[serde(default)]
    pub ttl: u32,
}
