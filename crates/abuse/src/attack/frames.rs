//! Frames that lie, by somebody with a good token.

use std::time::Duration;

use towline_harness::client_frame;

use super::{Target, by_many};

const MASK: Option<[u8; 4]> = Some([1, 2, 3, 4]);
const SOON: Duration = Duration::from_millis(100);

/// Bytes without sense where frames should be.
pub async fn garbage(target: Target) {
    by_many(target, 6, |target, number| async move {
        let Some(mut line) = target.upgraded_anywhere(number).await else { return };
        let garbage: Vec<u8> = (0..4096).map(|_| fastrand::u8(..)).collect();
        let _ = line.send(&garbage).await;
        line.read_for(SOON).await;
        target.did();
    })
    .await;
}

/// One message in thousands of pieces.
pub async fn tiny_fragments(target: Target) {
    by_many(target, 2, |target, number| async move {
        let Some(mut line) = target.upgraded(number).await else { return };
        let mut flood = client_frame(0x01, b"", MASK);
        (0..20_000).for_each(|_| flood.extend(client_frame(0x00, b"x", MASK)));
        let _ = line.send(&flood).await;
        line.read_for(SOON).await;
        target.did();
    })
    .await;
}

/// A message that says it has a gigabyte, and one that has several megabytes.
pub async fn oversized(target: Target) {
    by_many(target, 2, |target, number| async move {
        let Some(mut line) = target.upgraded(number).await else { return };
        if number % 2 == 0 {
            let _ = line.send(&[0x81, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0, 1, 2, 3, 4]).await;
        }
        let piece = vec![b'x'; 64 << 10];
        let mut first = 0x01;
        for _ in 0..64 {
            if line.send(&client_frame(first, &piece, MASK)).await.is_err() {
                break;
            }
            first = 0x00;
        }
        line.read_for(SOON).await;
        target.did();
        tokio::time::sleep(SOON).await;
    })
    .await;
}

/// A few bytes that inflate to gigabytes, where compression is negotiated, and where it is not.
pub async fn bombs(target: Target) {
    by_many(target, 2, |target, number| async move {
        let Some(line) = target.line(number).await else { return };
        let extension =
            "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; server_no_context_takeover\r\n";
        let Some(mut line) = target.upgrade(line, number, extension).await else { return };
        // A stored head and then one run of the same byte over and over: a block of fixed codes that copies 258 bytes in 13 bits.
        let mut bomb = vec![0x4b, 0x04];
        bomb.extend(std::iter::repeat_n([0x00, 0x00, 0xff, 0xff, 0x4a, 0x04], 100_000).flatten());
        let _ = line.send(&client_frame(0xc1, &bomb, MASK)).await;
        line.read_for(SOON).await;
        target.did();
        tokio::time::sleep(SOON).await;
    })
    .await;
}

/// Pings without end, by somebody who reads no pong.
pub async fn ping_floods(target: Target) {
    by_many(target, 4, |target, number| async move {
        let Some(mut line) = target.upgraded(number).await else { return };
        let flood: Vec<u8> = (0..500).flat_map(|_| client_frame(0x89, &[b'x'; 125], MASK)).collect();
        for _ in 0..100 {
            if line.send(&flood).await.is_err() {
                break;
            }
        }
        target.did();
    })
    .await;
}
