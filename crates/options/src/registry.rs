//! How registries are reached.

use std::collections::BTreeMap;
use std::path::PathBuf;

use kiln_registry::{AuthConfig, CredentialHelper, RegistrySettings};

use crate::OptionError;
use crate::env_vars::{self, Env};
use crate::path::absolute;
use crate::value::ValueError;

/// Options for pulling, shared by both binaries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "clap",
    derive(clap::Args),
    command(next_help_heading = "Registries")
)]
pub struct RegistryOptions {
    /// Pull over plain http where https does not answer.
    #[cfg_attr(feature = "clap", arg(long))]
    pub insecure_pull: bool,
    /// Pull without checking certificates.
    #[cfg_attr(feature = "clap", arg(long))]
    pub skip_tls_verify_pull: bool,
    /// Registry that may be reached over plain http. May be repeated.
    #[cfg_attr(feature = "clap", arg(long, value_name = "HOST"))]
    pub insecure_registry: Vec<String>,
    /// Registry whose certificate is not checked. May be repeated.
    #[cfg_attr(feature = "clap", arg(long, value_name = "HOST"))]
    pub skip_tls_verify_registry: Vec<String>,
    /// Certificate to trust for a registry, besides those of the system. May be repeated.
    #[cfg_attr(feature = "clap", arg(long, value_name = "HOST=FILE"))]
    pub registry_certificate: Vec<String>,
    /// Certificate and key to show to a registry. May be repeated.
    #[cfg_attr(feature = "clap", arg(long, value_name = "HOST=CERTIFICATE,KEY"))]
    pub registry_client_cert: Vec<String>,
    /// Where else to pull from: OLD=NEW[/PREFIX], several joined by semicolons; `KANIKO_REGISTRY_MAP` adds to this. May
    /// be repeated.
    #[cfg_attr(feature = "clap", arg(long, value_name = "HOST=HOST[;...]"))]
    pub registry_map: Vec<String>,
    /// Registry to pull from in place of docker.io. May be repeated.
    #[cfg_attr(feature = "clap", arg(long, value_name = "HOST[/PREFIX]"))]
    pub registry_mirror: Vec<String>,
    /// Do not go on to the registry itself when its mirrors and maps do not have an image.
    #[cfg_attr(feature = "clap", arg(long))]
    pub skip_default_registry_fallback: bool,
}

impl RegistryOptions {
    /// Settings for pulling only, with credentials from the environment (I2). The warmer's form:
    /// `KANIKO_REGISTRY_MIRROR` does not count.
    pub fn resolve(&self, env: &Env<'_>) -> Result<RegistrySettings, OptionError> {
        let mut maps = BTreeMap::new();
        for value in &self.registry_map {
            add_map(&mut maps, "--registry-map", value)?;
        }
        if let Some(value) = env_vars::text(env, env_vars::KANIKO_REGISTRY_MAP)? {
            add_map(&mut maps, env_vars::KANIKO_REGISTRY_MAP, &value)?;
        }
        let defaults = RegistrySettings::default();
        let user_agent = match env_vars::text(env, env_vars::UPSTREAM_CLIENT_TYPE)? {
            Some(upstream) => format!("{},{upstream}", defaults.user_agent),
            None => defaults.user_agent.clone(),
        };
        Ok(RegistrySettings {
            insecure_pull: self.insecure_pull,
            insecure_hosts: filled(&self.insecure_registry),
            skip_tls_verify_pull: self.skip_tls_verify_pull,
            skip_tls_verify_hosts: filled(&self.skip_tls_verify_registry),
            certificates: certificates(&self.registry_certificate)?,
            client_certificates: client_certificates(&self.registry_client_cert)?,
            mirrors: filled(&self.registry_mirror),
            maps,
            skip_default_fallback: self.skip_default_registry_fallback,
            user_agent,
            auth: AuthConfig::from_env(env).map_err(OptionError::Credentials)?,
            disable_http2: env_vars::boolean(env, env_vars::FF_KANIKO_DISABLE_HTTP2)?
                .unwrap_or(false),
            ..defaults
        })
    }
}

/// Options for pushing, and for pulls that are tried again; executor only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "clap",
    derive(clap::Args),
    command(next_help_heading = "Registries")
)]
pub struct PushOptions {
    /// Push over plain http where https does not answer.
    #[cfg_attr(feature = "clap", arg(long))]
    pub insecure: bool,
    /// Push without checking certificates.
    #[cfg_attr(feature = "clap", arg(long))]
    pub skip_tls_verify: bool,
    /// Extra tries of a push.
    #[cfg_attr(feature = "clap", arg(long, value_name = "N", value_parser = crate::quantity::number, default_value_t))]
    pub push_retry: i32,
    /// Extra tries of a download.
    #[cfg_attr(feature = "clap", arg(long, value_name = "N", value_parser = crate::quantity::number, default_value_t))]
    pub image_download_retry: i32,
    /// Take it as success when a registry refuses to overwrite an immutable tag.
    #[cfg_attr(feature = "clap", arg(long))]
    pub push_ignore_immutable_tag_errors: bool,
    /// Do not check first, before there is anything to push, that pushing is allowed.
    #[cfg_attr(feature = "clap", arg(long))]
    pub skip_push_permission_check: bool,
    /// Built-in source of credentials: env, google, ecr, acr or gitlab; all by default, none if empty. May be
    /// repeated.
    #[cfg_attr(feature = "clap", arg(long, value_name = "NAME"))]
    pub credential_helpers: Option<Vec<String>>,
}

impl PushOptions {
    /// Settings for pulling as `pull` says and for pushing; the executor's form, with `KANIKO_REGISTRY_MIRROR`.
    pub fn resolve(
        &self,
        pull: &RegistryOptions,
        env: &Env<'_>,
    ) -> Result<RegistrySettings, OptionError> {
        let mut settings = pull.resolve(env)?;
        settings
            .mirrors
            .extend(env_vars::text(env, env_vars::KANIKO_REGISTRY_MIRROR)?);
        settings.insecure_push = self.insecure;
        settings.skip_tls_verify_push = self.skip_tls_verify;
        settings.retries.push = tries(self.push_retry);
        settings.retries.download = tries(self.image_download_retry);
        settings.ignore_immutable_tag_errors = self.push_ignore_immutable_tag_errors;
        if let Some(names) = &self.credential_helpers {
            settings.auth = settings.auth.with_helpers(helpers(names)?);
        }
        Ok(settings)
    }
}

/// A number of extra tries; kaniko takes negative ones as none.
pub(crate) fn tries(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

/// The names of `--credential-helpers` and their meaning.
const HELPERS: [(&str, CredentialHelper); 5] = [
    ("env", CredentialHelper::Env),
    ("google", CredentialHelper::Google),
    ("ecr", CredentialHelper::Ecr),
    ("acr", CredentialHelper::Acr),
    ("gitlab", CredentialHelper::Gitlab),
];

fn helpers(names: &[String]) -> Result<Vec<CredentialHelper>, OptionError> {
    names
        .iter()
        .flat_map(|name| name.split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(
            |name| match HELPERS.iter().find(|(known, _)| *known == name) {
                Some((_, helper)) => Ok(*helper),
                None => {
                    let known = HELPERS.map(|(known, _)| known);
                    Err(invalid(
                        "--credential-helpers",
                        name,
                        ValueError::one_of(name, &known),
                    ))
                }
            },
        )
        .collect()
}

/// An empty list element comes from an unset variable and means nothing.
fn filled(values: &[String]) -> Vec<String> {
    values
        .iter()
        .filter(|value| !value.is_empty())
        .cloned()
        .collect()
}

fn invalid(flag: &str, value: &str, ValueError { expected, nearest }: ValueError) -> OptionError {
    OptionError::InvalidValue {
        flag: flag.to_owned(),
        value: value.to_owned(),
        expected,
        nearest,
    }
}

/// `a=b/prefix;a=c;d=e` (I20).
fn add_map(
    maps: &mut BTreeMap<String, Vec<String>>,
    flag: &str,
    value: &str,
) -> Result<(), OptionError> {
    for pair in value
        .split(';')
        .map(str::trim)
        .filter(|pair| !pair.is_empty())
    {
        match pair.split_once('=') {
            Some((from, to)) if !from.is_empty() && !to.is_empty() => {
                maps.entry(from.to_owned()).or_default().push(to.to_owned());
            }
            _ => {
                return Err(invalid(
                    flag,
                    pair,
                    ValueError::new("`REGISTRY=REGISTRY[/PREFIX]`"),
                ));
            }
        }
    }
    Ok(())
}

fn certificates(values: &[String]) -> Result<Vec<(String, PathBuf)>, OptionError> {
    let mut files = BTreeMap::new();
    for value in values.iter().filter(|value| !value.is_empty()) {
        match value.split_once('=') {
            Some((host, file)) if !host.is_empty() && !file.is_empty() => {
                files.insert(host.to_owned(), absolute(file.as_ref())?);
            }
            _ => {
                return Err(invalid(
                    "--registry-certificate",
                    value,
                    ValueError::new("`HOST=FILE`"),
                ));
            }
        }
    }
    Ok(files.into_iter().collect())
}

fn client_certificates(values: &[String]) -> Result<Vec<(String, PathBuf, PathBuf)>, OptionError> {
    let mut files = BTreeMap::new();
    for value in values.iter().filter(|value| !value.is_empty()) {
        let parts = value
            .split_once('=')
            .and_then(|(host, pair)| Some((host, pair.split_once(',')?)));
        match parts {
            Some((host, (certificate, key)))
                if ![host, certificate, key].contains(&"") && !key.contains(',') =>
            {
                files.insert(
                    host.to_owned(),
                    (absolute(certificate.as_ref())?, absolute(key.as_ref())?),
                );
            }
            _ => {
                let error = ValueError::new("`HOST=CERTIFICATE,KEY`");
                return Err(invalid("--registry-client-cert", value, error));
            }
        }
    }
    Ok(files
        .into_iter()
        .map(|(host, (certificate, key))| (host, certificate, key))
        .collect())
}
