//! Metadata services of clouds, for the name of the node.
//!
//! * AWS: `local-hostname`, with an IMDSv2 session (Amazon EC2 User Guide, "Use the Instance Metadata Service")
//! * GCP: `instance/name` (Compute Engine, "About VM metadata")
//! * Azure: `compute/osProfile/computerName` (Azure Instance Metadata Service), the name of the node there

use spec::ensemble::{Cloud, CloudSelector};
use std::fmt::Display;
use std::time::Duration;

use futures_util::future::select_ok;
use hyper::{Method, StatusCode};

use crate::locks::client::{exchange, within};
use crate::probes::connect;
use spec::lock::HttpAddress;
use spec::text::one_line;

/// Time limit of a request: the service is on the same machine or near.
const LIMIT: Duration = Duration::from_secs(3);
/// Address of the service of AWS and Azure (link-local, RFC 3927).
const LINK_LOCAL: &str = "169.254.169.254";
/// Host of the service of GCP.
const GOOGLE: &str = "metadata.google.internal";
/// Maximum length of the name of a node.
const LONGEST: usize = 253;

/// Returns the name of the node.
pub async fn node_name(selector: CloudSelector) -> Result<String, String> {
    match selector {
        CloudSelector::One(cloud) => within(LIMIT, query(cloud)).await,
        CloudSelector::Any => {
            let all = [Cloud::Aws, Cloud::Gcp, Cloud::Azure];
            let all = all.map(|cloud| Box::pin(within(LIMIT, query(cloud))));
            let found = select_ok(all).await;
            found
                .map(|(name, _)| name)
                .map_err(|why| format!("no metadata service returned the name of the node: {why}"))
        }
    }
}

async fn query(cloud: Cloud) -> Result<String, String> {
    let name = match cloud {
        Cloud::Aws => {
            let ttl = ("x-aws-ec2-metadata-token-ttl-seconds", "60".to_owned());
            let token = request(LINK_LOCAL, Method::PUT, "/latest/api/token", ttl).await?;
            let token = ("x-aws-ec2-metadata-token", token);
            request(LINK_LOCAL, Method::GET, "/latest/meta-data/local-hostname", token).await?
        }
        Cloud::Gcp => {
            let flavor = ("metadata-flavor", "Google".to_owned());
            request(GOOGLE, Method::GET, "/computeMetadata/v1/instance/name", flavor).await?
        }
        Cloud::Azure => {
            let path = "/metadata/instance/compute/osProfile/computerName?api-version=2021-02-01&format=text";
            request(LINK_LOCAL, Method::GET, path, ("metadata", "true".to_owned())).await?
        }
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    if name.is_empty() || name.len() > LONGEST || !name.chars().all(plain) {
        return Err(format!("invalid node name '{:.60}'", one_line(&name)));
    }
    // Names in Kubernetes are lower case.
    Ok(name.to_ascii_lowercase())
}

async fn request(
    host: &str,
    method: Method,
    path: &str,
    header: (&'static str, String),
) -> Result<String, String> {
    let server = HttpAddress { host: host.to_owned(), port: 80 };
    let failed = |why: &dyn Display| format!("{server}: {why}");
    let stream = connect(host, 80).await.map_err(|problem| problem.to_string())?;
    let (code, body) = exchange(stream, &server, method, path, &[header], Vec::new())
        .await
        .map_err(|error| failed(&error))?;
    if code != StatusCode::OK {
        return Err(failed(&format_args!("HTTP {}", code.as_u16())));
    }
    Ok(String::from_utf8_lossy(&body).trim().to_owned())
}
