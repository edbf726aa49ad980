//! The threads that the client sees, and the transactions behind them.

use wasmdbg_control::FilterId;
use wasmdbg_control::transactions::TransactionState;
use wasmdbg_session::Session;

use crate::protocol::{Answer, Body, State, Thread, ThreadsBody, Transaction, TransactionsBody};
use crate::view::threads::{PROXY, Threads, Who, controlled};

/// `waiting`: the proxy is gone, and waited for.
pub(crate) fn list(session: Option<&Session>, threads: &mut Threads, waiting: bool) -> Answer {
    let proxy = if waiting { "proxy (gone)" } else { "proxy (always runs)" };
    let mut list = vec![Thread { id: PROXY, name: proxy.into() }];
    if let Some(session) = session {
        let many = session.attached().filters.len() > 1;
        let name_of = |id: FilterId| {
            let named = session.attached().filters.iter().find(|filter| filter.filter == id);
            named.filter(|_| many).map_or_else(String::new, |filter| format!(" ({})", filter.name))
        };
        for stop in controlled(session) {
            let (id, _) = threads.id(Who::of_stop(&stop));
            list.push(Thread { id, name: stop.summary().thread + &name_of(stop.info().filter) });
        }
        // A proxy that does not answer has its own message.
        let known = session.transactions().map(|list| list.transactions).unwrap_or_default();
        for transaction in known {
            let (id, _) = threads.id(Who::Stream(transaction.id, transaction.filter));
            let name = format!("{} {} #{}", transaction.method, transaction.path, transaction.id);
            if list.iter().all(|known| known.id != id) {
                list.push(Thread { id, name: name + &name_of(transaction.filter) });
            }
        }
        list.sort_by_key(|thread| thread.id);
    }
    Ok(Some(Body::from(ThreadsBody { threads: list })))
}

/// The transactions of the debug lane, for our own extension and for the console.
pub(crate) fn transactions(session: &Session) -> Result<TransactionsBody, String> {
    let list = session.transactions().map_err(|error| error.to_string())?;
    let filters = &session.attached().filters;
    let transactions = list.transactions.into_iter().map(|known| {
        let (state, detail) = match known.state {
            TransactionState::Running { callback } => (State::Running, format!("runs {callback}")),
            TransactionState::Stopped { callback, .. } => (State::Stopped, format!("stopped in {callback}")),
            TransactionState::Queued { callback } => {
                (State::Queued, format!("waits for the filter's virtual machine, for {callback}"))
            }
            TransactionState::Paused { callback } => {
                (State::Paused, format!("paused by the filter in {callback}, which has not continued it"))
            }
            TransactionState::Proxy => (State::Proxy, "in the proxy: cache, origin or client".to_owned()),
        };
        let filter = filters.iter().find(|filter| filter.filter == known.filter);
        Transaction {
            name: format!("{} {} #{}", known.method, known.path, known.id),
            filter: filter.map_or_else(String::new, |filter| filter.name.clone()),
            client: known.client,
            state,
            detail,
            age_ms: known.age_ms,
        }
    });
    Ok(TransactionsBody { transactions: transactions.collect(), fast_lane: list.fast_lane })
}
