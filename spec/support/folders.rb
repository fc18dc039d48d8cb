# frozen_string_literal: true

module Specs
  # A working directory for processes with an embedded PostgreSQL of their own.
  module Folders
    # @return [String] a folder that is removed at the end of the example, and must not hold a running server then
    def folder
      @folder ||= Dir.mktmpdir("sw").tap { |path| File.chmod(0o755, path) } # as root the server runs as somebody else
    end

    # @return [Integer, nil] process of the embedded server in the folder, while it lives
    def server_pid
      pid = File.foreach(File.join(folder, ".stepwell/data/postmaster.pid")).first.to_i
      Process.kill(0, pid) && pid
    rescue Errno::ENOENT, Errno::ESRCH
      nil
    end

    # @api private
    def folder_leaks
      return [] unless @folder

      left = server_pid
      Process.kill("QUIT", left) && eventually { server_pid.nil? } if left
      FileUtils.rm_rf(@folder)
      left ? ["PostgreSQL is still running in #{@folder}"] : []
    end
  end
end
