//! S3, and what speaks as it does.

use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey as Key};

use crate::connector::{Connector, Exchange};
use crate::object::{Bucket, Credentials};
use crate::profile::{self, Profile};
use crate::{Error, Http, Place, Result, Settings};

/// Returns the bucket of `place`, in `region` if that is known.
pub(crate) fn bucket(
    place: &Place,
    settings: &Settings,
    region: Option<&str>,
    http: Arc<dyn Http>,
) -> Result<Bucket> {
    let profile = Profile::read(settings)?;
    let in_profile = || profile.as_ref().and_then(|profile| profile.value("region"));
    let region = region
        .or_else(|| settings.first(&["AWS_REGION", "AWS_DEFAULT_REGION"]))
        .or_else(in_profile)
        .unwrap_or("us-east-1");
    let endpoint = endpoint(settings, &place.bucket, region)?;
    let exchange = Exchange::new(http, &endpoint);
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&place.bucket)
        .with_region(region)
        .with_endpoint(endpoint)
        // The endpoint is that of the bucket.
        .with_virtual_hosted_style_request(true)
        .with_retry(settings.retry_config())
        .with_http_connector(Connector(Arc::clone(&exchange)));
    if let Some(sts) = settings.value("AWS_ENDPOINT_URL_STS") {
        builder = builder.with_config(Key::StsEndpoint, sts);
    }
    let (builder, used) = with_credentials(builder, settings, profile.as_ref())?;
    let mut looked_in = settings.looked_in(&[
        "AWS_ACCESS_KEY_ID",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ]);
    looked_in.insert(
        1,
        match &profile {
            Some(profile) => profile.origin.clone(),
            None => "the files `credentials` and `config` of `~/.aws` (no profile)".to_owned(),
        },
    );
    let Some(used) = used else {
        looked_in.push("$AWS_EC2_METADATA_DISABLED (true)".to_owned());
        return Err(Error::NoCredentials {
            place: place.to_string(),
            looked_in: looked_in.join(", "),
            source: None,
        });
    };
    looked_in.push("the instance's metadata".to_owned());
    let store = builder.build().map_err(|error| Error::Failed {
        place: place.to_string(),
        source: Box::new(error),
    })?;
    Ok(Bucket {
        store: Box::new(store),
        exchange,
        region: Some(region.to_owned()),
        place: place.clone(),
        credentials: Credentials {
            used: Some(used),
            looked_in,
        },
    })
}

/// Gives the builder the credentials that AWS's programs would take, in their order; `None` if there are
/// none to be had.
fn with_credentials(
    builder: AmazonS3Builder,
    settings: &Settings,
    profile: Option<&Profile>,
) -> Result<(AmazonS3Builder, Option<String>)> {
    let value = |name: &str| settings.value(name);
    let pair = (value("AWS_ACCESS_KEY_ID"), value("AWS_SECRET_ACCESS_KEY"));
    match pair {
        (Some(id), Some(secret)) => {
            let token = value("AWS_SESSION_TOKEN");
            let used = "$AWS_ACCESS_KEY_ID".to_owned();
            return Ok((with_keys(builder, id, secret, token), Some(used)));
        }
        (Some(_), None) => return Err(alone("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")),
        (None, Some(_)) => return Err(alone("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID")),
        (None, None) => {}
    }
    let by_profile = |builder| match profile {
        Some(profile) => with_profile(builder, profile),
        None => Ok((builder, None)),
    };
    let (mut builder, mut used) = (builder, None);
    if profile::named(settings).is_some() {
        (builder, used) = by_profile(builder)?;
    }
    if used.is_none()
        && let Some(file) = value("AWS_WEB_IDENTITY_TOKEN_FILE")
    {
        let role = value("AWS_ROLE_ARN");
        let role = role.ok_or_else(|| alone("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"))?;
        builder = with_role(builder, file, role, value("AWS_ROLE_SESSION_NAME"));
        used = Some("$AWS_WEB_IDENTITY_TOKEN_FILE".to_owned());
    }
    if used.is_none() {
        (builder, used) = by_profile(builder)?;
    }
    if used.is_some() {
        return Ok((builder, used));
    }
    if let Some(uri) = value("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
        let builder = builder.with_config(Key::ContainerCredentialsRelativeUri, uri);
        let used = "$AWS_CONTAINER_CREDENTIALS_RELATIVE_URI".to_owned();
        return Ok((builder, Some(used)));
    }
    if let Some(uri) = value("AWS_CONTAINER_CREDENTIALS_FULL_URI") {
        let file = value("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE").ok_or_else(|| {
            let file = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";
            alone("AWS_CONTAINER_CREDENTIALS_FULL_URI", file)
        })?;
        let builder = builder
            .with_config(Key::ContainerCredentialsFullUri, uri)
            .with_config(Key::ContainerAuthorizationTokenFile, file);
        return Ok((
            builder,
            Some("$AWS_CONTAINER_CREDENTIALS_FULL_URI".to_owned()),
        ));
    }
    if settings.is_on("AWS_EC2_METADATA_DISABLED") {
        return Ok((builder, None));
    }
    let builder = match value("AWS_EC2_METADATA_SERVICE_ENDPOINT") {
        Some(endpoint) => builder.with_metadata_endpoint(endpoint.trim_end_matches('/')),
        None => builder,
    };
    Ok((builder, Some("the instance's metadata".to_owned())))
}

fn with_profile(
    builder: AmazonS3Builder,
    profile: &Profile,
) -> Result<(AmazonS3Builder, Option<String>)> {
    let value = |key: &str| profile.value(key);
    let used = Some(profile.origin.clone());
    if let (Some(id), Some(secret)) = (value("aws_access_key_id"), value("aws_secret_access_key")) {
        let token = value("aws_session_token");
        return Ok((with_keys(builder, id, secret, token), used));
    }
    if let (Some(file), Some(role)) = (value("web_identity_token_file"), value("role_arn")) {
        let builder = with_role(builder, file, role, value("role_session_name"));
        return Ok((builder, used));
    }
    match profile.unsupported() {
        Some(key) => Err(Error::Setting {
            name: profile.origin.clone(),
            reason: format!(
                "its credentials are by `{key}`, and only keys and web identities are taken"
            ),
        }),
        None => Ok((builder, None)),
    }
}

fn with_keys(
    builder: AmazonS3Builder,
    id: &str,
    secret: &str,
    token: Option<&str>,
) -> AmazonS3Builder {
    let builder = builder
        .with_access_key_id(id)
        .with_secret_access_key(secret);
    match token {
        Some(token) => builder.with_token(token),
        None => builder,
    }
}

fn with_role(
    builder: AmazonS3Builder,
    file: &str,
    role: &str,
    session: Option<&str>,
) -> AmazonS3Builder {
    let builder = builder
        .with_config(Key::WebIdentityTokenFile, file)
        .with_config(Key::RoleArn, role);
    match session {
        Some(session) => builder.with_config(Key::RoleSessionName, session),
        None => builder,
    }
}

fn alone(name: &str, other: &str) -> Error {
    Error::Setting {
        name: name.to_owned(),
        reason: format!("it needs `{other}`, which is unset"),
    }
}

/// The variables that say where S3 is.
const ENDPOINTS: [&str; 3] = ["S3_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"];

/// Returns where the bucket is: its own host, as AWS has it, unless that cannot be one.
fn endpoint(settings: &Settings, bucket: &str, region: &str) -> Result<String> {
    let is_region = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    // It may be what a server said.
    if region.is_empty() || !region.bytes().all(is_region) {
        return Err(Error::Setting {
            name: "the region".to_owned(),
            reason: format!("`{}` is none", region.escape_debug()),
        });
    }
    let given = ENDPOINTS
        .into_iter()
        .find_map(|name| Some((name, settings.value(name)?)));
    let Some((name, given)) = given else {
        let end = if region.starts_with("cn-") { ".cn" } else { "" };
        let host = format!("s3.{region}.amazonaws.com{end}");
        // The certificate is for one name before it.
        return Ok(if bucket.contains('.') {
            format!("https://{host}/{bucket}")
        } else {
            format!("https://{bucket}.{host}")
        });
    };
    let parts = given.trim_end_matches('/').split_once("://");
    let Some((scheme @ ("http" | "https"), rest)) = parts.filter(|(_, rest)| !rest.is_empty())
    else {
        return Err(Error::Setting {
            name: name.to_owned(),
            reason: "it is no `http://` or `https://` URL".to_owned(),
        });
    };
    let host = authority(given);
    if host.contains('@') {
        return Err(Error::Setting {
            name: name.to_owned(),
            reason: "it has a user or a password, and there are other variables for those"
                .to_owned(),
        });
    }
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    let has_no_names =
        host.starts_with('[') || host == "localhost" || host.parse::<std::net::Ipv4Addr>().is_ok();
    let has_dots = scheme == "https" && bucket.contains('.');
    Ok(
        if settings.is_on("S3_FORCE_PATH_STYLE") || has_no_names || has_dots {
            format!("{scheme}://{rest}/{bucket}")
        } else {
            format!("{scheme}://{bucket}.{rest}")
        },
    )
}

/// Returns the host of a URL, with its port.
fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_buckets_are() {
        #[track_caller]
        fn check(variables: &str, bucket: &str, region: &str, expected: &str) {
            let variables = variables.split_whitespace().map(|pair| {
                let (name, value) = pair.split_once('=').unwrap();
                (name.to_owned(), value.to_owned())
            });
            let settings = Settings::new(variables, None);
            let found =
                endpoint(&settings, bucket, region).unwrap_or_else(|error| error.to_string());
            assert_eq!(found, expected);
        }
        check("", "b", "eu-west-1", "https://b.s3.eu-west-1.amazonaws.com");
        check(
            "",
            "b.c",
            "eu-west-1",
            "https://s3.eu-west-1.amazonaws.com/b.c",
        );
        check(
            "",
            "b",
            "cn-north-1",
            "https://b.s3.cn-north-1.amazonaws.com.cn",
        );
        check(
            "",
            "b",
            "evil.example/",
            "`the region` cannot be used: `evil.example/` is none",
        );
        check(
            "S3_ENDPOINT=http://127.0.0.1:9/",
            "b",
            "r",
            "http://127.0.0.1:9/b",
        );
        check(
            "S3_ENDPOINT=http://localhost",
            "b",
            "r",
            "http://localhost/b",
        );
        check("S3_ENDPOINT=http://[::1]:9", "b", "r", "http://[::1]:9/b");
        check(
            "AWS_ENDPOINT_URL=https://minio:9000/",
            "b",
            "r",
            "https://b.minio:9000",
        );
        check(
            "AWS_ENDPOINT_URL=https://other S3_ENDPOINT=https://minio S3_FORCE_PATH_STYLE=TRUE",
            "b",
            "r",
            "https://minio/b",
        );
        let refused = "`S3_ENDPOINT` cannot be used: it is no `http://` or `https://` URL";
        check("S3_ENDPOINT=minio:9000", "b", "r", refused);
        let refused = "`S3_ENDPOINT` cannot be used: it has a user or a password, and there are other \
                       variables for those";
        check("S3_ENDPOINT=http://u:p@minio:9000", "b", "r", refused);
    }
}
