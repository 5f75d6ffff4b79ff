//! Connections to a cluster: each call goes to the primary that has its key.

use std::time::Duration;

use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr};
use redis::{Cmd, Pipeline, ProtocolVersion, RedisResult, Value};

use crate::RedisError;
use crate::checks::Needs;
use crate::link::{CONNECTING, tcp};
use crate::url::Parts;

/// Connections to all nodes of a cluster, shared by all callers.
#[derive(Clone)]
pub(crate) struct Cluster(ClusterConnection);

impl Cluster {
    /// Connects, and checks every node: each may become a primary.
    pub(crate) async fn open(
        parts: &Parts,
        address: &str,
        needs: &Needs,
        timeout: Duration,
    ) -> Result<Self, RedisError> {
        let client = client(parts, timeout)?;
        let connecting = tokio::time::timeout(CONNECTING * 5, client.get_async_connection());
        let connected = connecting.await.map_err(|_| RedisError::Timeout)?;
        let mut connection = connected.map_err(|error| RedisError::of_connecting(&error, address))?;
        needs.check_all(&mut connection).await?;
        Ok(Self(connection))
    }

    /// Sends a command to the primary that has the key.
    pub(crate) async fn ask(&self, command: Cmd, key: &str) -> RedisResult<Value> {
        self.0.clone().route_command(command, RoutingInfo::SingleNode(primary_of(key))).await
    }

    /// Sends several commands one directly after the other on one connection.
    pub(crate) async fn ask_all(&self, commands: Pipeline, key: &str) -> RedisResult<Vec<Value>> {
        let count = commands.len();
        self.0.clone().route_pipeline(commands, 0, count, primary_of(key)).await
    }

    /// Sends a command to the node that imports a moving slot.
    pub(crate) async fn ask_at(&self, host: String, port: u16, command: Cmd) -> RedisResult<Value> {
        let mut commands = redis::pipe();
        commands.cmd("ASKING");
        commands.add_command(command);
        let node = SingleNodeRoutingInfo::ByAddress { host, port };
        let mut answers = self.0.clone().route_pipeline(commands, 0, 2, node).await?;
        Ok(answers.pop().unwrap_or(Value::Nil))
    }

    /// Looks for the primary of a key that does not answer: another node may have replaced it.
    ///
    /// A node that hangs never reports that. Any other primary redirects the question, and then the client
    /// discovers all nodes again.
    pub(crate) fn look_for(&self, key: &str) {
        let mut connection = self.0.clone();
        let mut question = redis::cmd("EXISTS");
        question.arg(key);
        tokio::spawn(async move {
            let anyone = RoutingInfo::SingleNode(SingleNodeRoutingInfo::RandomPrimary);
            // The result does not matter: the redirection alone makes the client discover the nodes.
            let _ = connection.route_command(question, anyone).await;
        });
    }
}

/// A client that never retries by itself: it would also retry after a lost connection, when it is unknown
/// whether a change was made.
fn client(parts: &Parts, timeout: Duration) -> Result<ClusterClient, RedisError> {
    let mut builder = ClusterClientBuilder::new(parts.servers()?)
        .retries(0)
        .connection_timeout(CONNECTING)
        .response_timeout(timeout)
        .overall_response_timeout(None)
        .use_protocol(ProtocolVersion::RESP3)
        .tcp_settings(tcp());
    if let Some(mode) = parts.tls_mode() {
        builder = builder.tls(mode);
    }
    if let Some(certificates) = parts.certificates()? {
        builder = builder.certs(certificates);
    }
    builder.build().map_err(|error| RedisError::Url(error.to_string()))
}

fn primary_of(key: &str) -> SingleNodeRoutingInfo {
    SingleNodeRoutingInfo::SpecificNode(Route::with_key(key, SlotAddr::Master))
}

/// Every node, including replicas.
pub(crate) fn every_node() -> RoutingInfo {
    RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllNodes, None))
}
