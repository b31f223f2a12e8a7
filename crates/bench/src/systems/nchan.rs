//! nchan, the pub/sub module of nginx. Messages stay in shared memory; nothing is durable, and connections carry no identity.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;
use tempfile::TempDir;
use towline_clock::Clock;

use super::install::{self, Program};
use super::{Dialect, System, upgrade};
use crate::loader::{Opening, Outbox, Wire};
use crate::server::{Server, accepts, free_address};

/// Starts nginx with so many workers.
pub fn start(clock: &Clock, program: &Program, directory: TempDir, workers: usize) -> Result<System> {
    let address = free_address()?;
    std::fs::write(directory.path().join("nginx.conf"), configuration(address, directory.path(), workers))?;
    let prefix = directory.path().to_path_buf();
    let arguments = ["-p".into(), prefix.clone().into_os_string(), "-c".into(), prefix.join("nginx.conf").into_os_string()];
    let server = Server::start(clock, directory, &program.path, arguments, &[], || accepts(address))?;
    let name = format!("nchan {}, {workers} worker{}", program.version, if workers == 1 { "" } else { "s" });
    Ok(System { name, address, dialect: Box::new(Nchan { address }), server })
}

fn configuration(address: SocketAddr, directory: &Path, workers: usize) -> String {
    let (module, place) = (install::nchan_module(), directory.display());
    format!(
        "load_module {module};
user root;
daemon off;
worker_processes {workers};
worker_rlimit_nofile 20000;
pid {place}/nginx.pid;
error_log {place}/error.log warn;
events {{ worker_connections 19000; }}
http {{
  access_log off;
  client_body_temp_path {place}; proxy_temp_path {place}; fastcgi_temp_path {place}; uwsgi_temp_path {place}; scgi_temp_path {place};
  nchan_shared_memory_size 1024M;
  server {{
    listen {address} backlog=4096;
    location ~ ^/sub/(.+)$ {{
      nchan_subscriber websocket;
      nchan_channel_id $1;
      nchan_channel_id_split_delimiter \",\";
      nchan_subscriber_first_message newest;
    }}
    location ~ ^/pub/(.+)$ {{
      nchan_publisher websocket;
      nchan_channel_id $1;
      nchan_message_buffer_length 10000;
      nchan_message_timeout 60s;
    }}
  }}
}}
"
    )
}

struct Nchan {
    address: SocketAddr,
}

impl Dialect for Nchan {
    fn subscriber(&self, _who: usize, topics: &[String]) -> Opening {
        let channels: Vec<String> = topics.iter().map(|topic| channel(topic)).collect();
        Opening {
            wire: Wire::WebSocket,
            request: upgrade(self.address, &format!("/sub/{}", channels.join(",")), None, ""),
            greeting: None,
            // nchan answers the upgrade only when the subscriber has been added to its channels.
            ready_when: None,
        }
    }

    fn publisher(&self, topic: &str) -> Opening {
        let request = upgrade(self.address, &format!("/pub/{}", channel(topic)), None, "");
        Opening { wire: Wire::WebSocket, request, greeting: None, ready_when: None }
    }

    fn publish(&self, _topic: &str, payload: &[u8], outbox: &mut Outbox<'_>) {
        outbox.send(payload);
    }
}

fn channel(topic: &str) -> String {
    topic.replace(':', "-")
}
