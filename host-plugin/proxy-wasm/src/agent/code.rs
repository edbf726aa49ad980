//! Serves profilers: where compiled code lies, and the files for `perf`.

use wasmdbg_control::code::{CodeBytes, CodeList, CodeMapFormat, CodeMapWritten, ReadCode};
use wasmdbg_control::server::ClientId;
use wasmdbg_control::{ErrorKind, WireError};

use super::Agent;
use super::requests::part;
use crate::code::{CodeMaps, SourceNames};
use crate::config::Perf;
use crate::embedder::Level;

impl Agent {
    /// Lets the files for `perf` have source names and lines, and writes the one that the settings ask
    /// for. An error is logged: the proxy serves without it.
    pub fn describe_code(&mut self, names: SourceNames) {
        let settings = self.lane.runtime.settings();
        let wanted = match settings.perf {
            Perf::Off => None,
            Perf::Map => Some(CodeMapFormat::PerfMap),
            Perf::Jitdump => Some(CodeMapFormat::Jitdump),
        };
        self.code = CodeMaps::new(names, settings.perf_directory.clone());
        let Some(format) = wanted else { return };
        if let Err(error) = self.code.write(&self.filters, format) {
            let text = format!("no code map for perf: {error}");
            self.lane.runtime.log(Level::Error, "wasmdbg", None, &text);
        }
    }

    pub(super) fn code_list(&self) -> CodeList {
        CodeMaps::list(&self.filters)
    }

    pub(super) fn read_code(&mut self, asked: &ReadCode) -> Result<CodeBytes, WireError> {
        let filter = self.filter(asked.filter).cloned().ok_or_else(|| {
            WireError::new(ErrorKind::NotFound, format!("there is no filter {}", asked.filter))
        })?;
        let image = self.code.image(&filter).map_err(|text| WireError::new(ErrorKind::State, text))?;
        let data = part(&image, asked.offset, asked.length).to_vec();
        if asked.offset.saturating_add(data.len() as u64) >= image.len() as u64 {
            self.code.forget_image();
        }
        Ok(CodeBytes { size: image.len() as u64, data })
    }

    pub(super) fn write_code_map(
        &mut self,
        format: CodeMapFormat,
        client: ClientId,
    ) -> Result<CodeMapWritten, WireError> {
        let written = self.code.write(&self.filters, format);
        if let (Ok(written), Some(client)) = (&written, self.clients.get(&client)) {
            self.audit_client(client, &format!("wrote the code map {}", written.path));
        }
        written.map_err(|error| WireError::new(ErrorKind::State, error.to_string()))
    }
}
