//! Private servers, which the benchmark starts too: see the crate `servers`.

pub(crate) use ::servers::{free_port, postgres, rabbitmq};
