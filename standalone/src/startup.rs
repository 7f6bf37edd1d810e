//! Puts the two services together and runs them until told to stop.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use api_server::startup::{Backends, Listeners as ApiListeners, StartupError as ApiError};
use api_server::store::{Sqlite, StoreError};
use chat_gateway::startup::{Listeners as GatewayListeners, StartupError as GatewayError};
use clap::Parser;
use shared_runtime::registry::InProcessRegistry;
use shared_runtime::secret::OptionError;
use tokio_util::sync::CancellationToken;

use crate::config::{Addresses, Config, Secrets};
use crate::data_folder::{DataFolder, DataFolderError, random_hex};

/// Why the process did not start. Each names the option that is to blame.
#[derive(Debug, thiserror::Error)]
pub enum StartupError {
    #[error(transparent)]
    Option(#[from] OptionError),
    #[error(transparent)]
    Arguments(#[from] clap::Error),
    #[error(transparent)]
    Data(#[from] DataFolderError),
    #[error("NARU_DATA: {0}")]
    Store(#[from] StoreError),
    #[error("{option}: cannot listen on {address}: {cause}")]
    Listen { option: &'static str, address: SocketAddr, cause: io::Error },
    #[error("the system gives no random numbers: {0}")]
    Random(io::Error),
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Gateway(#[from] GatewayError),
}

/// Both services, ready to run.
pub struct Application {
    api: api_server::startup::Application,
    gateway: chat_gateway::startup::Application,
    pub addresses: Addresses,
    pub websocket_url: String,
    /// `None` with Postgres and Redis.
    _data: Option<DataFolder>,
}

/// Binds the listeners, opens the storage and builds both services on it.
pub async fn build(config: Config) -> Result<Application, StartupError> {
    let uses_servers = config.uses_servers()?;
    let (public, ws) = (bind("NARU_LISTEN", config.listen)?, bind("NARU_WS_LISTEN", config.ws_listen)?);
    // Nobody but this process calls these.
    let loopback = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    let (internal, ws_internal) = (bind("loopback", loopback)?, bind("loopback", loopback)?);
    let addresses = Addresses {
        public: address_of(&public, config.listen)?,
        internal: address_of(&internal, loopback)?,
        ws: address_of(&ws, config.ws_listen)?,
        ws_internal: address_of(&ws_internal, loopback)?,
    };
    let data = DataFolder::take(&config.data)?;
    let secrets = Secrets {
        token_secret_file: token_secret_file(&data)?,
        internal: random_hex().map_err(StartupError::Random)?,
    };
    let api_config = api_server::config::Config::try_parse_from(config.api_arguments(addresses, &secrets))?;
    let gateway_config =
        chat_gateway::config::Config::try_parse_from(config.gateway_arguments(addresses, &secrets)?)?;
    let api_listeners = ApiListeners { public, internal };
    let gateway_listeners = GatewayListeners { public: ws, internal: ws_internal };
    let (api, gateway) = if uses_servers {
        (
            api_server::startup::build(api_config, api_listeners).await?,
            chat_gateway::startup::build(gateway_config, gateway_listeners).await?,
        )
    } else {
        let sessions = Arc::new(InProcessRegistry::default());
        let store = Arc::new(Sqlite::open(&data.database()).await?);
        let backends = Backends { store, sessions: sessions.clone() };
        (
            api_server::startup::build_on(&api_config, api_listeners, backends)?,
            chat_gateway::startup::build_on(gateway_config, gateway_listeners, sessions).await?,
        )
    };
    let websocket_url = config.websocket_url(addresses.ws)?;
    Ok(Application { api, gateway, addresses, websocket_url, _data: Some(data) })
}

/// The secret that signs tokens, unless the environment says how they are checked.
fn token_secret_file(data: &DataFolder) -> Result<Option<PathBuf>, DataFolderError> {
    let is_set = |name| std::env::var_os(name).is_some_and(|value: std::ffi::OsString| !value.is_empty());
    if ["NARU_JWT_SECRET", "NARU_JWT_SECRET_FILE", "NARU_JWT_JWKS_URL"].into_iter().any(is_set) {
        return Ok(None);
    }
    data.token_secret().map(Some)
}

fn bind(option: &'static str, address: SocketAddr) -> Result<TcpListener, StartupError> {
    TcpListener::bind(address).map_err(|cause| StartupError::Listen { option, address, cause })
}

fn address_of(listener: &TcpListener, address: SocketAddr) -> Result<SocketAddr, StartupError> {
    listener.local_addr().map_err(|cause| StartupError::Listen { option: "NARU_LISTEN", address, cause })
}

impl Application {
    /// Serves until `shutdown`. What the api-server has accepted still reaches the sessions; then the gateway drains
    /// them, and reports what they acked to the api-server, which goes last.
    pub async fn run_until(self, shutdown: CancellationToken) -> io::Result<()> {
        let (stop_gateway, gateway_has_stopped) = (CancellationToken::new(), CancellationToken::new());
        let api = async {
            // An api-server that has failed takes the gateway with it.
            let _stop_gateway = stop_gateway.clone().drop_guard();
            self.api.run_with_gateway_until(shutdown, stop_gateway.clone(), gateway_has_stopped.clone()).await
        };
        let gateway = async {
            let _has_stopped = gateway_has_stopped.clone().drop_guard();
            self.gateway.run_until(stop_gateway.clone()).await
        };
        let (api, gateway) = tokio::join!(api, gateway);
        api.and(gateway)
    }
}
