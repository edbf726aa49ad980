//! One request after the other: who asks, what it takes, who answers.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use wasmdbg_control::breakpoints::SetBreakpoints;
use wasmdbg_control::codec::fitting;
use wasmdbg_control::filters::{FilterList, ModuleBytes, ReadModule};
use wasmdbg_control::server::{ClientHandle, ClientId};
use wasmdbg_control::session::{ActivityNoted, Detached};
use wasmdbg_control::status::{SessionInfo, Status};
use wasmdbg_control::transactions::TransactionList;
use wasmdbg_control::{ErrorKind, MAX_LIST, Request, RequestId, WireError};

use super::Agent;
use super::stops::millis;
use crate::debug::session::Session;
use crate::debug::slot::{PlantReply, Slot};

/// Bytes of a module or of code in one answer.
const PART: usize = 512 << 10;
/// Breakpoints of one session in one module: the answer has a text for each that is refused.
const BREAKPOINTS: usize = 4000;

/// What a client gets of `bytes` when it asks for so many of them.
pub(super) fn part(bytes: &[u8], offset: u64, length: u32) -> &[u8] {
    let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    let length = PART.min(length as usize).min(bytes.len() - start);
    &bytes[start..start + length]
}

impl Agent {
    pub(super) fn serve(&mut self, client: ClientId, id: RequestId, request: Request) {
        let Some(asking) = self.clients.get(&client) else { return };
        let handle = asking.handle.clone();
        let session = asking.session.clone();
        if let Some(session) = &session
            && !matches!(
                request,
                Request::Status(_)
                    | Request::Filters(_)
                    | Request::Transactions(_)
                    | Request::Code(_)
                    | Request::ReadCode(_)
            )
        {
            session.sign_of_life();
        }
        let answered = match request {
            Request::Status(_) => handle.reply(id, self.status()),
            Request::Filters(_) => handle.reply(id, self.filter_list()),
            Request::Transactions(_) => handle.reply(id, self.transaction_list()),
            Request::Code(_) => handle.reply(id, self.code_list()),
            Request::ReadCode(asked) => {
                let read = self.read_code(&asked);
                answer(&handle, id, read)
            }
            Request::WriteCodeMap(asked) => {
                let written = self.write_code_map(asked.format, client);
                answer(&handle, id, written)
            }
            Request::ReadModule(asked) => answer(&handle, id, self.read_module(&asked)),
            Request::Attach(asked) => match self.attach(client, id, asked) {
                Ok(()) => Ok(()),
                Err(error) => {
                    if let Some(asking) = self.clients.get(&client) {
                        self.audit_client(asking, &format!("was not attached: {error}"));
                    }
                    handle.refuse(id, error)
                }
            },
            Request::Start(_) => {
                let started = self.start(client);
                answer(&handle, id, started)
            }
            Request::Detach(_) => match self.end_session(client, "detached") {
                Some(released) => handle.reply(id, Detached { released }),
                None => handle.refuse(id, no_session()),
            },
            Request::Hello(_) => handle
                .refuse(id, WireError::new(ErrorKind::State, "this connection has been greeted already")),
            request => {
                match session {
                    Some(session) => self.serve_session(&session, &handle, id, request),
                    None => drop(handle.refuse(id, no_session())),
                }
                Ok(())
            }
        };
        // A client that is gone is noticed by the loop.
        let _ = answered;
    }

    /// What only a session can ask.
    fn serve_session(
        &mut self,
        session: &Arc<Session>,
        client: &ClientHandle,
        id: RequestId,
        request: Request,
    ) {
        let Some(request) = self.command(session, client, id, request) else { return };
        let _ = match request {
            Request::Activity(_) => client.reply(id, ActivityNoted {}),
            Request::SetBreakpoints(asked) => match self.set_breakpoints(session, client, id, asked) {
                Ok(()) => Ok(()),
                Err(error) => client.refuse(id, error),
            },
            Request::Interrupt(asked) => answer(client, id, self.interrupt(session, &asked)),
            _ => client.refuse(id, WireError::new(ErrorKind::Internal, "nobody serves this request")),
        };
    }

    fn status(&self) -> Status {
        let sessions = self.lane.sessions();
        let info = |session: &Arc<Session>| SessionInfo {
            id: session.id,
            client: session.name.clone(),
            uid: session.peer.uid,
            pid: session.peer.pid,
            filters: session.filters.iter().map(|wish| wish.filter).collect(),
        };
        let active = self.filters.iter().filter(|filter| filter.inactive_reason().is_none()).count() as u64;
        let slots = self.lane.tables().slots.clone();
        Status {
            uptime_ms: millis(self.started.elapsed()),
            transactions: (self.transactions)(),
            sessions: sessions.iter().map(info).collect(),
            slots: slots.iter().map(|slot| slot.info()).collect(),
            code_images: active + self.crew.images(),
            event_thread_debug_work: self.lane.event_thread_work(),
            event_thread_releases: self.lane.runtime.releases().snapshot(),
            filters: self.filter_list().filters,
        }
    }

    fn filter_list(&self) -> FilterList {
        FilterList { filters: self.filters.iter().map(|filter| filter.info()).collect() }
    }

    fn transaction_list(&self) -> TransactionList {
        let slots = self.lane.tables().slots.clone();
        let mut transactions: Vec<_> = slots.iter().filter_map(|slot| slot.transaction()).collect();
        transactions.sort_by_key(|transaction| std::cmp::Reverse(transaction.age_ms));
        // A transaction is on the debug lane of each filter that a session names.
        let mut ids: Vec<_> = transactions.iter().map(|transaction| transaction.id).collect();
        ids.sort_unstable();
        ids.dedup();
        let fast_lane = (self.transactions)().saturating_sub(ids.len() as u64);
        let (transactions, left_out) = fitting(transactions, MAX_LIST);
        TransactionList { transactions, fast_lane, left_out: left_out as u64 }
    }

    fn read_module(&self, asked: &ReadModule) -> Result<ModuleBytes, WireError> {
        let known = |filter: &&Arc<crate::filter::Filter>| {
            filter.module() == asked.module && !filter.module_bytes().is_empty()
        };
        let filter = self.filters.iter().find(known).ok_or_else(|| {
            WireError::new(ErrorKind::NotFound, format!("no filter here runs a module {}", asked.module))
        })?;
        let bytes = filter.module_bytes();
        Ok(ModuleBytes { size: bytes.len() as u64, data: part(bytes, asked.offset, asked.length).to_vec() })
    }

    fn set_breakpoints(
        &self,
        session: &Session,
        client: &ClientHandle,
        id: RequestId,
        asked: SetBreakpoints,
    ) -> Result<(), WireError> {
        let SetBreakpoints { module, breakpoints } = asked;
        if self.crew.module(module).is_none() || !self.names_module(session, module) {
            let text = format!("this session debugs no filter with module {module}");
            return Err(WireError::new(ErrorKind::NotFound, text));
        }
        if breakpoints.len() > BREAKPOINTS {
            let text = format!(
                "{} breakpoints are too many: a session may have {BREAKPOINTS} in a module",
                breakpoints.len()
            );
            return Err(WireError::new(ErrorKind::State, text));
        }
        let pcs: Vec<String> = breakpoints.iter().map(|b| b.pc.to_string()).collect();
        self.audit_session(session, &format!("breakpoints in {module}: {}", list_or_none(&pcs)));
        session.set_breakpoints(module, breakpoints.clone());
        let reply = Arc::new(PlantReply::new(client.clone(), id, breakpoints));
        let slots = self.lane.tables().slots.clone();
        let own = |slot: &&Arc<Slot>| {
            slot.module == module
                && session.wish(slot.filter).is_some()
                && !slot.orphan.load(Ordering::Acquire)
        };
        let (held, started): (Vec<_>, Vec<_>) =
            slots.iter().filter(own).partition(|slot| slot.held.load(Ordering::Acquire));
        if started.is_empty() && !held.is_empty() {
            // They stand before the first instruction; nothing can be refused before that.
            reply.answer(Ok);
        }
        for slot in started {
            slot.lock().planting.push(Arc::clone(&reply));
            self.lane.poke(slot);
        }
        Ok(())
    }

    fn names_module(&self, session: &Session, module: wasmdbg_control::ModuleHash) -> bool {
        let named = session.filters.iter().filter_map(|wish| self.filter(wish.filter));
        named.into_iter().any(|filter| filter.module() == module)
    }
}

fn answer<R: Into<wasmdbg_control::Reply>>(
    client: &ClientHandle,
    id: RequestId,
    result: Result<R, WireError>,
) -> Result<(), wasmdbg_control::server::QueueError> {
    match result {
        Ok(reply) => client.reply(id, reply),
        Err(error) => client.refuse(id, error),
    }
}

fn list_or_none(items: &[String]) -> String {
    if items.is_empty() { String::from("none") } else { items.join(" ") }
}

pub(super) fn no_session() -> WireError {
    WireError::new(ErrorKind::State, "this connection has no session: attach first")
}
