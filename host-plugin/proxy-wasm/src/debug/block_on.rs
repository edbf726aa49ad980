//! Runs one future to its end on the calling thread. The futures of a debug slot never wait for
//! anything but the guest: a stop blocks the thread inside the handler.
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls `future` until it is done; parks the thread in between.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        thread::park();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_future_that_is_woken_from_another_thread_ends() {
        let (sender, receiver) = mpsc::channel::<Waker>();
        let waking = thread::spawn(move || receiver.recv().map(Waker::wake));
        let mut polled = 0;
        let future = std::future::poll_fn(|context| {
            polled += 1;
            if polled == 1 {
                let _ = sender.send(context.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(polled)
        });
        assert_eq!(block_on(future), 2);
        waking.join().expect("the waking thread").expect("a waker");
    }
}
