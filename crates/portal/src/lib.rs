//! todo
mod agreement;
mod announcement;
mod api;
mod audit;
mod call;
mod connect;
mod endpoint;
mod lookup;
mod member;
mod node;
mod overview;
mod page;
mod problem;
mod range;
mod reason;
mod request;
mod session;
mod token;
mod user;
mod vocabulary;

pub struct AppState;
pub type App = std::sync::Arc<AppState>;
