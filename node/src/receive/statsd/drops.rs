//! Datagrams that the kernel dropped because the receive buffer was full.

use tokio::io::AsyncReadExt as _;

/// Of every UDP socket of this network namespace (Linux: Documentation/networking/proc_net_tcp, net/ipv4/udp.c,
/// `udp4_format_sock`: the inode is the tenth column, drops the last).
const SOCKETS: [&str; 2] = ["/proc/self/net/udp", "/proc/self/net/udp6"];
/// Read at most: 8,000 sockets.
const BYTES_MAX: u64 = 1 << 20;

/// Datagrams dropped since the socket with this inode was opened; `None` when it is not found.
pub(super) async fn of(inode: u64) -> Option<u64> {
    for path in SOCKETS {
        let Ok(file) = tokio::fs::File::open(path).await else { continue };
        let mut text = Vec::new();
        if file.take(BYTES_MAX).read_to_end(&mut text).await.is_ok()
            && let Some(drops) = in_table(&String::from_utf8_lossy(&text), inode)
        {
            return Some(drops);
        }
    }
    None
}

fn in_table(table: &str, inode: u64) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        let mut columns = line.split_ascii_whitespace();
        let found = columns.nth(9)?.parse() == Ok(inode);
        columns.next_back().filter(|_| found)?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd as _;

    #[test]
    fn the_drops_of_one_socket_are_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n \
                     100: 0100007F:1FBD 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 123456 2 00000000 17\n \
                     101: broken\n";
        assert_eq!((in_table(table, 123_456), in_table(table, 1)), (Some(17), None));
    }

    #[tokio::test]
    async fn a_socket_that_is_not_read_drops() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        rustix::net::sockopt::set_socket_recv_buffer_size(&socket, 4096).unwrap();
        let inode = rustix::fs::fstat(socket.as_fd()).unwrap().st_ino;
        assert_eq!(of(inode).await, Some(0));
        let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..100 {
            sender.send_to(&[b'a'; 1000], socket.local_addr().unwrap()).unwrap();
        }
        assert!(of(inode).await.unwrap() > 50);
    }
}
