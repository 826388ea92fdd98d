//! A worker: it has the app and actix's HTTP, and serves the connections that it is given.
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, Protocol};
use actix_server::GracefulShutdownSignal;
use actix_service::boxed::{factory, service};
use actix_service::{ServiceExt, ServiceFactory, fn_factory, fn_service};
use actix_web::dev::Extensions;
use actix_web::middleware::{NormalizePath, from_fn};
use actix_web::{App, web};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::connection::{Actix, Endpoint, LINGER};
use super::handoff::{Handoff, handed_off};
use super::shared::Socket;
use crate::engine::{Access, Engine, drive_wakes};
use crate::http::{
    Bodies, ConnectionPermit, Connections, Encrypted, Origins, PublicAddress, answer, configure,
    cors, guard, public,
};

/// How long a request's head may take.
pub(super) const HEAD: Duration = Duration::from_secs(5);

/// The common state of all workers.
#[derive(Clone)]
pub(super) struct Worker {
    pub(super) engine: Engine,
    pub(super) access: Access,
    pub(super) origins: Origins,
    pub(super) public: PublicAddress,
    pub(super) connections: Connections,
    pub(super) bodies: Bodies,
    pub(super) encrypted: bool,
    pub(super) stopping: GracefulShutdownSignal,
}

impl Worker {
    /// One of them, which opens its connections by `open`.
    pub(super) fn serve<S, A, F>(
        self,
        open: A,
    ) -> impl ServiceFactory<TcpStream, Config = (), Response = (), Error = io::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
        A: Fn(TcpStream, Rc<Endpoint<S>>, ConnectionPermit) -> F + Clone + 'static,
        F: Future<Output = io::Result<()>> + 'static,
    {
        let (connections, stopping) = (self.connections.clone(), self.stopping.clone());
        let idle = self.engine.limits().idle;
        let actix = factory(self.actix::<S>());
        fn_factory(move || {
            let (actix, open) = (actix.new_service(()), open.clone());
            let (connections, stopping) = (connections.clone(), stopping.clone());
            async move {
                let actix: Actix<S> = service(actix.await?.map_err(|_| ()));
                let endpoint = Rc::new(Endpoint { actix, stopping, idle });
                Ok::<_, ()>(fn_service(move |tcp| open(tcp, endpoint.clone(), connections.enter())))
            }
        })
    }

    /// actix, with the settings that long streams need.
    fn actix<S: AsyncRead + AsyncWrite + Unpin + 'static>(
        self,
    ) -> impl ServiceFactory<
        (Socket<S>, Protocol, Option<SocketAddr>),
        Config = (),
        Response = (),
        Error = DispatchError,
        InitError = (),
    > {
        #[expect(
            clippy::disallowed_methods,
            reason = "it ends with the worker whose readers it wakes"
        )]
        let _answering = actix_web::rt::spawn(drive_wakes());
        let (stopping, encrypted) = (self.stopping, self.encrypted);
        let idle = self.engine.limits().idle;
        let app = App::new()
            .app_data(web::Data::new(self.engine))
            .app_data(web::Data::new(self.access))
            .app_data(web::Data::new(self.origins.clone()))
            .app_data(web::Data::new(self.public))
            .app_data(web::Data::new(self.bodies))
            .configure(configure)
            .wrap(from_fn(guard))
            .wrap(cors(&self.origins))
            // Before anybody looks at the path: `//v1`, and a slash at the end.
            .wrap(NormalizePath::trim())
            .wrap(from_fn(answer))
            .wrap(from_fn(public));
        HttpService::build()
            // A connection that waits for another request ends when the server stops.
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            // A client that hangs up is noticed at once, not at the second write.
            .h1_allow_half_closed(false)
            .client_request_timeout(HEAD)
            .client_disconnect_timeout(LINGER)
            .keep_alive(idle)
            .on_connect_ext(move |socket: &Socket<S>, data: &mut Extensions| {
                data.insert(socket.0.place.clone());
                data.insert(Handoff(socket.0.clone()));
                if encrypted {
                    data.insert(Encrypted);
                }
            })
            .finish(handed_off(app))
    }
}
