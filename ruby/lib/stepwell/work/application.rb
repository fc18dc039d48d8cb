# frozen_string_literal: true

module Stepwell
  module Work
    # The user's code: loaded once, before the first fork.
    # @api private
    module Application
      RAILS = "config/environment.rb"

      module_function

      # @param paths [Array<String>] files and folders; none means the Rails application in the working directory
      # @raise [Usage] when there is no such file
      # @raise [Failed] with the error and its place, when the code raises
      def load(paths)
        files(paths).each { |file| loading(file) { require file } }
        return unless defined?(::Rails.application) && ::Rails.application

        # Code that is only loaded when its name is met could not define workflows; and what is loaded now is shared.
        loading("the application") { ::Rails.application.eager_load! }
      ensure
        ActiveRecordConnections.release # this thread executes no steps
      end

      # @param asked [Array<String>]
      # @return [Array<String>] the namespaces to work for
      # @raise [Failed] when the application has nothing to execute there
      def namespaces(asked)
        known = Stepwell.registry.definitions.keys.map(&:first).uniq
        if known.empty?
          raise Failed, "the application defines no workflow, so there are no handlers: it needs Stepwell.workflow " \
                        "or Stepwell.load_workflows, and -r must name what calls them"
        end
        asked = asked.map(&:strip).reject(&:empty?).uniq
        unknown = asked - known
        return asked.empty? ? known : asked if unknown.empty?

        raise Failed, "the application defines no workflow in #{unknown.join(", ")}; it has #{known.join(", ")}"
      end

      # @raise [Failed] when the application, as it was loaded, does not survive a fork
      def prepare_to_fork
        unless Stepwell.running.empty?
          raise Failed, "the application starts #{Stepwell.running.first.inspect} while it is loaded, which does not " \
                        "survive a fork: start it in Stepwell.after_fork { … }, or in a process of its own"
        end

        Stepwell.disconnect
        warm_up
      end

      # What is marked or moved after the fork is no longer shared, so that is done before.
      def warm_up
        return Process.warmup if Process.respond_to?(:warmup)

        GC.start
        GC.compact if GC.respond_to?(:compact)
      rescue NotImplementedError
        nil # a platform without compaction
      end

      def loading(what)
        yield
      rescue StandardError, ScriptError => e
        raise Failed, "#{what} cannot be loaded: #{e.full_message(highlight: false, order: :top)}"
      end

      def files(paths)
        return paths.flat_map { |path| files_of(path) } unless paths.empty?
        return [File.expand_path(RAILS)] if File.file?(RAILS)

        raise Usage, "say with -r what to load: a Ruby file, or a folder (there is no #{RAILS} here)"
      end

      def files_of(path)
        full = File.expand_path(path)
        return [full] if File.file?(full)
        return ["#{full}.rb"] if File.file?("#{full}.rb")
        raise Usage, "-r #{path}: there is no such file or folder" unless File.directory?(full)

        rails = File.join(full, RAILS)
        return [rails] if File.file?(rails)

        Dir[File.join(full, "**/*.rb")].tap do |files|
          raise Usage, "-r #{path}: the folder has neither #{RAILS} nor any other Ruby file" if files.empty?
        end
      end
    end
  end
end
