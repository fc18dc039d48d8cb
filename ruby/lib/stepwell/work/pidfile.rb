# frozen_string_literal: true

module Stepwell
  module Work
    # A file with the number of the process that works. It is locked while it works, so what a crash leaves behind does
    # not matter, and neither does a number that another process has by now.
    # @api private
    module Pidfile
      module_function

      # @param path [String, nil] nil means none
      # @yieldparam file [File, nil] what a forked process must close, because the lock is the supervisor's
      # @return what the block returned
      # @raise [Failed] when another process holds the file, or it cannot be written
      def hold(path)
        return yield(nil) unless path

        owner = Process.pid
        file = lock(path)
        begin
          yield file
        ensure
          File.delete(path) if owner == Process.pid && File.identical?(path, file)
          file.close
        end
      end

      def lock(path)
        loop do
          file = File.open(path, File::RDWR | File::CREAT, 0o644)
          unless file.flock(File::LOCK_EX | File::LOCK_NB)
            raise Failed, "#{path} belongs to process #{file.read.strip}, which works already"
          end
          return write(file) if File.identical?(path, file)

          file.close # its holder deleted it after it was opened here
        end
      rescue SystemCallError => e
        raise Failed, "the pid file cannot be written: #{e.message}"
      end

      def write(file)
        file.truncate(0)
        file.write("#{Process.pid}\n")
        file.flush
        file
      end
    end
  end
end
