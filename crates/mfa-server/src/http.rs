//! Listens for connections and serves the API on each.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::available_parallelism;

use actix_http::ServiceConfig;
use actix_service::IntoServiceFactory;
use actix_web::App;
use actix_web::dev::{AppConfig, Server, ServiceFactory, fn_factory, fn_service};
use mfa_actix::Api;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;

use self::connection::Connection;
use crate::config::Settings;
use crate::limits;

mod connection;

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 2048;

/// The operating system's buffer for each direction of a connection, in bytes; Linux doubles it. The default grows to
/// megabytes for a client that does not read its answers.
const SOCKET_BUFFER: u32 = 32 * 1024;

/// A socket that listens on `address`. The connections that it accepts inherit its options.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.set_send_buffer_size(SOCKET_BUFFER)?;
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    socket.set_nodelay(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

/// Serves `api` until `stop` completes, then finishes open requests.
pub(crate) fn serve(
    listener: TcpListener,
    api: Api,
    settings: &Settings,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<Server> {
    let workers = match settings.workers {
        0 => available_parallelism().map_or(1, usize::from),
        some => some,
    };
    let server = Server::build();
    let stopping = server.graceful_shutdown_signal();
    let waiting = api.clone();
    let stop = async move {
        stop.await;
        waiting.end_waits();
    };
    let worker = move || {
        let (api, stopping) = (api.clone(), stopping.clone());
        fn_factory(move || {
            let app = App::new().configure(|routes| {
                api.configure_pages(routes);
                api.configure(routes);
            });
            let (app, stopping) = (app.into_factory(), stopping.clone());
            async move {
                let app = Rc::new(app.new_service(AppConfig::default()).await?);
                let (config, ahead) = (ServiceConfig::default(), Arc::new(Semaphore::new(1)));
                Ok::<_, ()>(fn_service(move |socket: TcpStream| {
                    let connection = Connection::new(socket, config.clone(), Arc::clone(&ahead));
                    let (app, stopping) = (Rc::clone(&app), stopping.clone());
                    async move {
                        connection.serve(&*app, &stopping).await;
                        Ok::<_, ()>(())
                    }
                }))
            }
        })
    };
    let server = server
        .workers(workers)
        .max_concurrent_connections(limits::connections(settings.max_connections).div_ceil(workers))
        .shutdown_timeout(settings.shutdown_timeout.as_secs())
        .shutdown_signal(stop)
        .listen("http", listener, worker)?;
    Ok(server.run())
}
