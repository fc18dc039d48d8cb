# frozen_string_literal: true

# Keeps a number of tasks in flight, whatever happens to the database: a submit that failed is repeated with the same
# idempotency keys until it is acknowledged, a wait that failed until the tasks have ended.
class Feeder
  attr_reader :errors

  # @param acks [String] file of the acknowledged: a line "NUMBER TASK" each
  # @param window [Integer] batches in flight
  # @param batch [Integer] tasks of one submit
  def initialize(acks, window, batch)
    @acks = acks
    @window = window
    @batch = batch
    @errors = 0
  end

  # @param first [Integer]
  # @param count [Integer] 0: until it is stopped
  # @return [Integer] how many were submitted, all of them finished
  def run(first, count)
    flying = []
    submitted = 0
    until @stopped || (count.positive? && submitted == count)
      batch = count.positive? ? [@batch, count - submitted].min : @batch
      flying << submit(Array.new(batch) { |place| first + submitted + place })
      submitted += batch
      wait(flying.shift) if flying.size >= @window
    end
    flying.each { |tasks| wait(tasks) }
    submitted
  end

  def stop
    @stopped = true
  end

  def submit(numbers)
    tasks = persist { Stepwell.submit_all(numbers.map { |number| FaultWorkflows.request(number) }) }
    File.write(@acks, numbers.zip(tasks).map { |number, task| "#{number} #{task.id}\n" }.join, mode: "a")
    tasks
  end

  def wait(tasks)
    persist { Stepwell.wait_all(tasks, timeout: 5) }
  rescue Stepwell::WaitTimeout
    retry
  end

  private

  def persist
    yield
  rescue Stepwell::DatabaseError
    @errors += 1
    IO.select(nil, nil, nil, 0.05)
    retry
  end
end
