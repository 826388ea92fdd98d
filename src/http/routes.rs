//! A path, and beside it the methods that it answers.
use actix_web::dev::{AppService, HttpServiceFactory};
use actix_web::http::Method;
use actix_web::{FromRequest, Handler, HttpResponse, Resource, Responder, Route, guard, web};

use super::problem::Problem;

/// The routes of one path. Any other method is answered with 405 and `Allow`; actix alone
/// answers 404.
pub(super) struct Endpoint {
    resource: Resource,
    methods: Vec<Method>,
}

/// The endpoint of a path, in actix's notation, which answers nothing yet.
pub(super) fn endpoint(path: &str) -> Endpoint {
    Endpoint { resource: web::resource(path), methods: Vec::new() }
}

impl Endpoint {
    /// Answers GET, and HEAD as every server shall; actix leaves the body out.
    pub(super) fn get<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        let route = web::route().guard(guard::Any(guard::Get()).or(guard::Head())).to(handler);
        self.with(&[Method::GET, Method::HEAD], route)
    }

    /// Answers GET alone, for a stream: behind HEAD its body would run unseen.
    pub(super) fn stream<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.with(&[Method::GET], web::get().to(handler))
    }

    /// Answers one method.
    pub(super) fn on<F, Args>(self, method: Method, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        let route = web::method(method.clone()).to(handler);
        self.with(&[method], route)
    }

    /// Answers POST.
    pub(super) fn post<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.on(Method::POST, handler)
    }

    /// Answers DELETE.
    pub(super) fn delete<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.on(Method::DELETE, handler)
    }

    fn with(mut self, methods: &[Method], route: Route) -> Self {
        self.methods.extend_from_slice(methods);
        self.resource = self.resource.route(route);
        self
    }

    /// The same as actix knows it, for a middleware around it.
    pub(super) fn into_resource(self) -> Resource {
        let methods = self.methods;
        self.resource.default_service(web::to(move || {
            let problem = Problem::method_not_allowed(&methods);
            async move { Err::<HttpResponse, _>(problem) }
        }))
    }
}

impl HttpServiceFactory for Endpoint {
    fn register(self, config: &mut AppService) {
        self.into_resource().register(config);
    }
}
