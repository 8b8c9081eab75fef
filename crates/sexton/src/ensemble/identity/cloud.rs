//! The metadata services of clouds, which know what our node is called.
//!
//! * AWS: `local-hostname`, by a session of IMDSv2 (Amazon EC2 User Guide, "Use the Instance Metadata Service")
//! * GCP: `instance/name` (Compute Engine, "About VM metadata")
//! * Azure: `compute/osProfile/computerName` (Azure Instance Metadata Service), which is what a node is called there

use spec::ensemble::{Cloud, Which};
use std::time::Duration;

use futures_util::future::select_ok;
use hyper::{Method, StatusCode};

use crate::locks::client::{exchange, within};
use crate::probes::connect;
use spec::lock::HttpAddress;
use spec::text::one_line;

/// How long one may take: it is on the same machine, or next to it.
const LIMIT: Duration = Duration::from_secs(3);
/// Where AWS and Azure have it (link-local, RFC 3927).
const LINK_LOCAL: &str = "169.254.169.254";
/// Where GCP has it.
const GOOGLE: &str = "metadata.google.internal";
/// The longest name of a node.
const LONGEST: usize = 253;

/// What our node is called.
pub async fn node_name(which: Which) -> Result<String, String> {
    match which {
        Which::One(cloud) => within(LIMIT, name_by(cloud)).await,
        Which::Any => {
            let all = [Cloud::Aws, Cloud::Gcp, Cloud::Azure];
            let all = all.map(|cloud| Box::pin(within(LIMIT, name_by(cloud))));
            let found = select_ok(all).await;
            found.map(|(name, _)| name).map_err(|why| format!("no cloud tells the name of the node: {why}"))
        }
    }
}

async fn name_by(cloud: Cloud) -> Result<String, String> {
    let name = match cloud {
        Cloud::Aws => {
            let ttl = ("x-aws-ec2-metadata-token-ttl-seconds", "60".to_owned());
            let token = ask(LINK_LOCAL, Method::PUT, "/latest/api/token", ttl).await?;
            let token = ("x-aws-ec2-metadata-token", token);
            ask(LINK_LOCAL, Method::GET, "/latest/meta-data/local-hostname", token).await?
        }
        Cloud::Gcp => {
            let flavor = ("metadata-flavor", "Google".to_owned());
            ask(GOOGLE, Method::GET, "/computeMetadata/v1/instance/name", flavor).await?
        }
        Cloud::Azure => {
            let path = "/metadata/instance/compute/osProfile/computerName?api-version=2021-02-01&format=text";
            ask(LINK_LOCAL, Method::GET, path, ("metadata", "true".to_owned())).await?
        }
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    if name.is_empty() || name.len() > LONGEST || !name.chars().all(plain) {
        return Err(format!("'{:.60}' is no name of a node", one_line(&name)));
    }
    // Names in Kubernetes have no capitals.
    Ok(name.to_ascii_lowercase())
}

async fn ask(
    host: &str,
    method: Method,
    path: &str,
    header: (&'static str, String),
) -> Result<String, String> {
    let server = HttpAddress { host: host.to_owned(), port: 80 };
    let failed = |why: String| format!("{server}: {why}");
    let stream = connect(host, 80).await.map_err(|problem| problem.to_string())?;
    let (code, body) =
        exchange(stream, &server, method, path, &[header], Vec::new()).await.map_err(failed)?;
    if code != StatusCode::OK {
        return Err(failed(format!("HTTP {}", code.as_u16())));
    }
    Ok(String::from_utf8_lossy(&body).trim().to_owned())
}
